"""EC2 of the emulated account: networks, interfaces, instances, and what they are made of."""
