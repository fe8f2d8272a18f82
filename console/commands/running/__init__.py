"""What runs until it is told to end: a worker, and the HTTP API."""
