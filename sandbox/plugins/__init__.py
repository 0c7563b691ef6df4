"""Stand-ins for the plugins that the Pulumi engine starts: providers of AWS, EKS, Kubernetes and commands."""
