"""Runs the sandbox's AWS in a thread of this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pgfleet.console.sandbox.aws.handle import Aws


@contextmanager
def running_aws(*, snapshot_s: float = 0.0) -> Iterator[Aws]:
    """A server in a thread; a snapshot takes `snapshot_s`."""
    # moto would load thousands of machine images, which no test uses.
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    from pgfleet.console.sandbox.aws.server import serving  # noqa: PLC0415  # moto takes seconds to import

    with serving(snapshot_s) as url:
        yield Aws(url)
