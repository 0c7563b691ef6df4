"""Stand-in for the pulumi-eks provider: the remote component `eks:index:Cluster`."""
