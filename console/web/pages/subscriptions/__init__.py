"""Who is told of which events, and how deliveries fare."""
