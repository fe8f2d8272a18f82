"""`pgfleet worker`: dramatiq's own command line, in this process, with the flags that our broker needs."""

import importlib
import os
from importlib.resources import files
from typing import Annotated

import typer

from pgfleet.console.commands.running.parent import end_with
from pgfleet.console.connection import database, database_url
from pgfleet.console.examples import example
from pgfleet.schema.errors import FleetError
from pgfleet.schema.nearest import meant
from pgfleet.schema.settings import read_settings

# How long a thread of dramatiq looks at an empty queue before it looks whether to stop.
LOOK_MS = 200
BOOT_DEAF_MS = 1000
PROCESSES = "Processes; in containers leave it at 1. Each has the metrics port after that of the one before."


def kinds() -> list[str]:
    """The packages of `workers` that have a machine."""
    return sorted(path.name for path in files("pgfleet.workers").iterdir() if path.joinpath("machine.py").is_file())


@example("pgfleet worker reservation --threads 4")
def worker(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(kinds())}.")],
    *,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Claims worked on at once.")] = 4,
    processes: Annotated[int, typer.Option(min=1, max=256, help=PROCESSES)] = 1,
    parent: Annotated[int | None, typer.Option(help="End when this process has.", hidden=True)] = None,
) -> None:
    """Run the worker of a kind until SIGTERM or Ctrl-C; what it has claimed is finished or given back."""
    known = kinds()
    if kind not in known:
        raise FleetError(f"{kind} is no kind of worker. {meant(kind, known)}")
    database_url()
    # dramatiq reads its environment when it is imported, which the check does.
    os.environ.setdefault("dramatiq_worker_timeout", str(LOOK_MS))
    _check(kind, processes)
    if parent is not None:
        end_with(parent)
    raise typer.Exit(_dramatiq(kind, threads, processes))


def _check(kind: str, processes: int) -> None:
    """Find what would keep the worker's process from starting, so that it is an error's text and no traceback.

    Raises:
        FleetError: settings, ports, database, schema, rights, or what the kind's tools need outside.
    """
    # Only now, so that --help is quick.
    from pgfleet.workers.runtime.inside.opening import opened  # noqa: PLC0415
    from pgfleet.workers.runtime.inside.rights import check_rights  # noqa: PLC0415
    from pgfleet.workers.runtime.outside.port import check_ports  # noqa: PLC0415

    settings = read_settings()
    check_ports(settings.metrics_host, settings.metrics_port, processes)
    served = importlib.import_module(f"pgfleet.workers.{kind}").KIND
    with database() as conn:
        check_rights(conn, [served.queue])
    with opened(served, settings, None):
        pass


def _dramatiq(kind: str, threads: int, processes: int) -> int:
    from dramatiq.cli import main, make_argument_parser  # noqa: PLC0415

    flags = ["--processes", str(processes), "--threads", str(threads), "--skip-logging"]
    # For so long dramatiq's first process hears no signals.
    flags += ["--worker-fork-timeout", str(BOOT_DEAF_MS)]
    flags += ["--worker-shutdown-timeout", str(int(read_settings().drain_s * 1000))]
    arguments = make_argument_parser().parse_args([f"pgfleet.workers.{kind}", *flags])  # type: ignore[no-untyped-call]
    arguments.path = []
    code: int = main(arguments)  # type: ignore[no-untyped-call]
    return code
