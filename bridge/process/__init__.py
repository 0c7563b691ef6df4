"""The bridge at work: what it watches, what it writes, whose turn it is."""
