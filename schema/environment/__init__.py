"""What stands in the environment: what a value may be, and which names are ours."""
