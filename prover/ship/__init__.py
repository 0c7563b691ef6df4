"""The prover as it goes into a cluster: the pack, the objects, the rights. None of this is in the pack."""
