"""Queues: what waits in them, what comes and goes, who works on it, and what is held back."""
