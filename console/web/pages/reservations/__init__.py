"""Reservations: the list, one of them, and the form to ask for one."""
