"""Numbers of the fleet, now and over time."""
