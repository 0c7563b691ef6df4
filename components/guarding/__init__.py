"""What stands before, around and after the changes of a deploy: gate, mark, guard, freeze, a last look."""
