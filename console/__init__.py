"""What a person runs: the `pgfleet` command."""

import sys
from importlib.util import find_spec

# As of what is interrupted later.
INTERRUPTED = 130


def main() -> None:
    """The entry point. It says which extra is missing where the base was installed without the console."""
    try:
        if find_spec("typer") is None:
            sys.exit("pgfleet's commands are an extra that is not installed: pip install 'pgfleet[cli]'")
        from pgfleet.console.main import main as run  # noqa: PLC0415  # only where its packages are there
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

    run()
