"""`pgfleet worker`: dramatiq's own command line, in this process, with the flags that our broker needs."""

import importlib
import os
import signal
import threading
import time
from importlib.resources import files
from typing import Annotated

import typer

from pgfleet.console.connection import database, database_url
from pgfleet.console.examples import example
from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import read_settings

SHUTDOWN_MS = 30_000
# How long a thread of dramatiq looks at an empty queue before it looks whether to stop.
LOOK_MS = 200
PARENT_CHECK_S = 0.5


def kinds() -> list[str]:
    """The packages of `workers` that have a machine."""
    return sorted(path.name for path in files("pgfleet.workers").iterdir() if path.joinpath("machine.py").is_file())


@example("pgfleet worker reservation --threads 4")
def worker(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(kinds())}.")],
    *,
    threads: Annotated[int, typer.Option(min=1, help="Claims worked on at once.")] = 4,
    processes: Annotated[int, typer.Option(min=1, help="Processes; in containers leave it at 1.")] = 1,
    parent: Annotated[int | None, typer.Option(help="End when this process has.", hidden=True)] = None,
) -> None:
    """Run the worker of a kind until SIGTERM or Ctrl-C; what it has claimed is finished or given back."""
    known = kinds()
    if kind not in known:
        raise FleetError(f"{kind} is no kind of worker. Known are {', '.join(known)}.")
    database_url()
    _check(kind)
    if parent is not None:
        _end_with(parent)
    raise typer.Exit(_dramatiq(kind, threads, processes))


def _check(kind: str) -> None:
    """Find what would keep the worker's process from starting, so that it is an error's text and no traceback.

    Raises:
        FleetError: settings, database, schema, or what the kind's tools need outside.
    """
    settings = read_settings()
    with database():
        pass
    with importlib.import_module(f"pgfleet.workers.{kind}").KIND.tools(settings):
        pass


def _dramatiq(kind: str, threads: int, processes: int) -> int:
    os.environ.setdefault("dramatiq_worker_timeout", str(LOOK_MS))
    # Only now: dramatiq reads its environment when it is imported.
    from dramatiq.cli import main, make_argument_parser  # noqa: PLC0415

    flags = ["--processes", str(processes), "--threads", str(threads), "--skip-logging"]
    flags += ["--worker-shutdown-timeout", str(SHUTDOWN_MS)]
    arguments = make_argument_parser().parse_args([f"pgfleet.workers.{kind}", *flags])  # type: ignore[no-untyped-call]
    arguments.path = []
    code: int = main(arguments)  # type: ignore[no-untyped-call]
    return code


def _end_with(parent: int) -> None:
    """Send this process SIGTERM when its parent has ended, even if that was before this is called."""

    def watch() -> None:
        # Signals are for the main thread, also while it has them blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
