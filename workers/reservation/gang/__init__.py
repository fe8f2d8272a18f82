"""Gangs: reservations of several nodes, each of them a row, that start, wait and end together."""
