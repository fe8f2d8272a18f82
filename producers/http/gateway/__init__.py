"""The heartbeat gateway: what nodes send within a few milliseconds goes to the queue as one batch."""
