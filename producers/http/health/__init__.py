"""How the API is: whether it is ready, what it counts, and how it ends."""
