"""A control plane for GPU fleets on a Postgres queue; each package here is a folder at the top of the repository."""
