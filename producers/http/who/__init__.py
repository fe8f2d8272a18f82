"""Who asks: what a request carries, and the principal that it proves."""
