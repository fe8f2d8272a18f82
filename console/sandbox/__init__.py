"""The servers that tests and the demo use: a Kubernetes API simulator and an SSH key server."""

from console.sandbox.box import Box
from console.sandbox.server import running, spawned

__all__ = ["Box", "running", "spawned"]
