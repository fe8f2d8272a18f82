"""Disks: whose they are, what is kept of them, and what may be asked of them."""
