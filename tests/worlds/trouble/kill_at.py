"""Starts a worker that kills itself at a labelled point, once: `kill_at.py FILE POINT WHEN NTH DRAMATIQ-ARGS`.

The program knows nothing of it: the point is a function of its modules or libraries, wrapped from outside
before dramatiq's own command line starts. FILE is made when the process has been killed, so that one started
again runs through.
"""

import importlib
import os
import signal
import sys
from functools import wraps
from pathlib import Path
from typing import Any

from dramatiq import cli


def arm(marker: Path, point: str, when: str, nth: int) -> None:
    """POINT is `module:attribute.path`; it is `before` or `after` the NTH call that the process dies."""
    module, _, path = point.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), 0

    @wraps(real)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        due = calls == nth and not marker.exists()
        if due and when == "before":
            die(marker)
        result = real(*args, **kwargs)
        if due and when == "after":
            die(marker)
        return result

    setattr(owner, name, deadly)


def die(marker: Path) -> None:
    marker.touch()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    file, the_point, the_time, the_number, *arguments = sys.argv[1:]
    arm(Path(file), the_point, the_time, int(the_number))
    sys.exit(cli.main(cli.make_argument_parser().parse_args(arguments)))  # type: ignore[no-untyped-call]
