"""A whole fleet for a test: database, simulated cluster, and workers in threads of the test's own process."""
