"""The servers that tests and the demo use: a Kubernetes API simulator, SSH keys, Hopsworks, and AWS by moto."""

from pgfleet.console.sandbox.aws.handle import Aws
from pgfleet.console.sandbox.aws.running import running_aws
from pgfleet.console.sandbox.box import Box
from pgfleet.console.sandbox.server import running, spawned

__all__ = ["Aws", "Box", "running", "running_aws", "spawned"]
