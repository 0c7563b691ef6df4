"""Which values of the Cilium chart a stack may choose, and which the journey rests on."""
