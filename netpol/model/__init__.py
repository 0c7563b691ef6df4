"""What policy is about: selectors, ranges, policies, packets and the worlds they are decided in."""
