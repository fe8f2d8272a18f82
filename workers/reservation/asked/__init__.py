"""What people ask for: new reservations, rows that were placed with their message, and more time."""
