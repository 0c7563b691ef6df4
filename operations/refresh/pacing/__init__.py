"""How much may go at once: by PodDisruptionBudgets, replicas, node budgets, and what the API server can take."""
