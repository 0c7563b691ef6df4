"""What a run would do: waves, what would keep it from ending, the shortest time."""
