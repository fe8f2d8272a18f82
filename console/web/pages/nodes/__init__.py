"""The autoscaler's nodes: all of them, one, and what one should run."""
