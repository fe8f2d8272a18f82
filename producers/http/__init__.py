"""The HTTP API: it proves who asks, checks the shape, sends; workers do the rest."""
