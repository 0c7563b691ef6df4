"""A run: decisions carried out until it ends, and what people see of it."""
