"""Who gets into a reservation and how, beside SSH of its own user: Jupyter, other users, names, what its pod writes."""
