"""What each engine says about one flow, and why."""
