"""Gangs: reservations of several nodes, each of them a row."""
