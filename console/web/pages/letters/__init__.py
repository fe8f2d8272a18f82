"""Dead letters: what could not be handled, why, and what becomes of it."""
