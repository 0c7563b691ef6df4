"""EKS of the emulated account: clusters, node groups, add-ons, and who may enter."""
