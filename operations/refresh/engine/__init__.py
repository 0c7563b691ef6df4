"""What to do next, decided from what is known, and what is waited for. No input, no output."""
