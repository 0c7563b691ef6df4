"""What objects in a cluster say, as plain values."""
