"""What can be called: one file a noun, each with its ENDPOINTS."""
