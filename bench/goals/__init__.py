"""What pgfleet has to reach, beside what it does."""
