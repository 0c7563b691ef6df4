"""Stand-in for the Kubernetes provider: objects of any kind, patches, Helm releases."""
