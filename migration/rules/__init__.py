"""What AWS, Kubernetes and the charts take, so that a setting is refused before they refuse it."""
