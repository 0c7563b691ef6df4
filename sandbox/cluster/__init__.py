"""Controllers that stand for EKS itself and for kubelets: nodes, node groups, add-ons, containers that really run."""
