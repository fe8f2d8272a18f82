"""Workers of several kinds and HTTP APIs that kill themselves, forked from one process that has imported all kinds.

A settle is a point, too: `settle TABLE.COLUMN` or `settle TABLE=STATUS` is the one that writes this column or status,
and `during` it is when the rows have been changed, `before` when the answers have been read, `after` the commit.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import boto3  # type: ignore[import-untyped]
from botocore.loaders import JSONFileLoader  # type: ignore[import-untyped]
from dramatiq import cli

from pgfleet.workers import assignment, disk, event, heartbeat, reservation
from pgfleet.workers.runtime import settle
from pgfleet.workers.runtime.outcomes import Change
from worlds.trouble import kill_at

# What is asked for in place of a kind's module, and the variable that says at which port it answers.
API, PORT = "api", "CRASHES_PORT"
KINDS = (assignment, disk, event, heartbeat, reservation)
SETTLE = "settle "
PARTS = {"during": "_change_rows", "before": "_is_all_written", "after": "_try"}


@dataclass(frozen=True)
class Nursery:
    process: subprocess.Popen[str]

    @contextmanager
    def worker(self, module: str, environment: Mapping[str, str], *point: Any) -> Iterator[int]:
        """The process group of a worker, killed in the end, or at `point`: marker, place, when, the how manieth.

        `module` is that of its kind, or those of several with commas between them; or API, with PORT in `environment`.
        """
        pid = self.start(module, environment, *point)
        try:
            yield pid
        finally:
            kill_group(pid)

    def start(self, module: str, environment: Mapping[str, str], *point: Any) -> int:
        """As `worker`; whoever starts it ends it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([module, dict(environment), [str(part) for part in point]]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # dead already
        return


@contextmanager
def nursery(program: str = __file__, environment: Mapping[str, str] | None = None) -> Iterator[Nursery]:
    command = [sys.executable, program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            yield Nursery(process)
        finally:
            process.terminate()


Being = Callable[[str, Mapping[str, str], Sequence[str]], None]


def serve(orders: Iterator[str], be: Being) -> None:
    """Fork a worker for each line; tell its process group, which is there by then."""
    read = cache(partial(JSONFileLoader.load_file, JSONFileLoader()))
    # What botocore reads for each client is read once, before workers are forked.
    JSONFileLoader.load_file = lambda _, file_path: read(file_path)
    for service in ("ec2", "s3"):
        boto3.client(service, region_name="us-east-2").close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for order in orders:
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.write(told, b".")
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            be(*json.loads(order))
        os.read(ready, 1)
        os.close(ready)
        os.close(told)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def be_worker(module: str, environment: Mapping[str, str], point: Sequence[str]) -> None:
    os.environ.update(environment)
    os.dup2(2, 1)
    if point:
        arm(Path(point[0]), point[1], point[2], int(point[3]))
    if module == API:
        be_api(int(environment[PORT]))
    # As in a process that a command line has started: dramatiq's own workers are forked from this one.
    multiprocessing.set_start_method("fork", force=True)
    modules = module.split(",")
    mine = keep_only(modules)
    arguments = cli.make_argument_parser().parse_args([*modules[:1], "-p", "1", "-t", "1", "-Q", *mine])  # type: ignore[no-untyped-call]
    sys.exit(cli.main(arguments))  # type: ignore[no-untyped-call]


def be_api(port: int) -> None:
    """`pgfleet serve`, until it is killed."""
    from pgfleet.console.commands.running.serve import serve as serve_api  # noqa: PLC0415 - only where it is asked for

    # It says where it answers, each time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    serve_api(port=port)
    sys.exit(1)


def keep_only(modules: Sequence[str]) -> list[str]:
    """Their queues: this process would serve all kinds that are imported."""
    broker = disk.actor.broker
    lifecycle: Any = next(m for m in broker.middleware if hasattr(m, "kinds"))
    mine = [sys.modules[each].KIND.queue for each in modules]
    for queue in [queue for queue in lifecycle.kinds if queue not in mine]:
        del lifecycle.kinds[queue]
        broker.queues.pop(queue, None)
    return mine


def arm(marker: Path, place: str, when: str, nth: int) -> None:
    if not place.startswith(SETTLE):
        kill_at.arm(marker, place, when, nth)
        return
    wanted = writes(place.removeprefix(SETTLE))
    real: Callable[..., Any] = getattr(settle, PARTS[when])

    @wraps(real)
    def deadly(*given: Any) -> Any:
        result = real(*given)
        units = next(each for each in given if isinstance(each, list) and each and isinstance(each[0], settle.Unit))
        committed = when != "after" or not any(result)
        if committed and not marker.exists() and any(wanted(change) for unit in units for change in unit.changes):
            kill_at.die(marker)
        return result

    setattr(settle, PARTS[when], deadly)


def writes(label: str) -> Callable[[Change], bool]:
    table, status = label.split("=") if "=" in label else (label, None)
    table, _, column = table.partition(".")

    def concerns(change: Change) -> bool:
        if change.table.name != table:
            return False
        return change.to == status if status else column in change.values

    return concerns


if __name__ == "__main__":
    serve(iter(sys.stdin), be_worker)
