"""What can be called about nodes: those of the autoscaler and their pools and configurations, and clusters."""
