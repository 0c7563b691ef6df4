"""Kubernetes and AWS as a refresh reads and changes them: requests, watches, the Lease, the rights."""
