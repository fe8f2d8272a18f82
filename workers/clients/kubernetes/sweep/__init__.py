"""What the sweep of the reservation worker lists."""
