"""Requests of our own to servers of others, within bounds; workers and the HTTP API make them."""
