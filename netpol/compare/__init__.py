"""Whether two worlds treat every flow alike: all flows at once, as sets."""
