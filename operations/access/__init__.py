"""How the stack, AWS and the API server are reached, and where the stack is."""
