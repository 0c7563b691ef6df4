"""What keeps two stacks, a deletion or an edit from undoing a migration, as values."""
