"""The prover at work: what it reads, when it proves, what it publishes, whose turn that is."""
