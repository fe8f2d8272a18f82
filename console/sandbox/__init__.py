"""The servers that tests and the demo use: a Kubernetes API simulator, SSH keys, Hopsworks, and AWS by moto."""

from console.sandbox.aws import Aws, running_aws
from console.sandbox.box import Box
from console.sandbox.server import running, spawned

__all__ = ["Aws", "Box", "running", "running_aws", "spawned"]
