"""What worker tests share: a clock that tests move, a worker that runs in the test's own thread, and processes."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import psycopg
from dramatiq import cli
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.kinds import contracts
from pgfleet.schema.queue import claims
from pgfleet.schema.settings import Settings, read_settings
from pgfleet.workers.runtime.inside.begin import begin
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.outside.probes import probe_due
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.serve import open_pool, run_kind
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work
from worlds.trouble import kill_at

Connection = psycopg.Connection[tuple[Any, ...]]
REPOSITORY = Path(__file__).parents[2]
# Only a test that fails waits so long: it must be more than the busiest machine needs.
PATIENCE_S = 120.0


def until(
    condition: Callable[[], Any],
    *,
    within_s: float = PATIENCE_S,
    what: str = "the condition",
    work: Callable[[], Any] = bool,
) -> Any:
    """Wait for a condition; its value. Nobody rests while there is `work` before each look.

    Whoever claims that something is quick measures it: a deadline is no claim, and never shorter than PATIENCE_S.
    """
    within_s = max(within_s, PATIENCE_S)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        worked = work()
        value = condition()
        if value:
            return value
        if not worked:
            time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {within_s} s")


def lose_row(conn: Connection, row_id: str) -> None:
    """A reservation's row is gone although it has to stay: of a database that was restored, say."""
    conn.execute("alter table public.reservations disable trigger keep_row")
    conn.execute("delete from public.reservations where reservation_id = %s", (row_id,))
    conn.execute("alter table public.reservations enable trigger keep_row")


def move_clock(conn: Connection, seconds: float) -> None:
    """Let fleet_now be this much later, for every session at once."""
    begin, ahead_s = _clock(conn)
    _set_clock(conn, begin, ahead_s + seconds)


def stop_clock(conn: Connection) -> None:
    """From now on fleet_now is later only where it is moved, however long a test takes.

    What pgmq sends by itself is then not due: its clock goes on.
    """
    row = conn.execute("select format('%L::timestamptz', public.fleet_now())").fetchone()
    assert row is not None
    _set_clock(conn, row[0], 0)


def _clock(conn: Connection) -> tuple[str, float]:
    """What fleet_now counts from, and the seconds that it is ahead of that."""
    found = conn.execute("select prosrc from pg_proc where oid = 'public.fleet_now()'::regprocedure").fetchone()
    assert found is not None
    moved = re.search(r"select (.*) \+ interval '(\S+) seconds'", found[0])
    return (moved[1], float(moved[2])) if moved else ("statement_timestamp()", 0.0)


def _set_clock(conn: Connection, begin: str, ahead_s: float) -> None:
    conn.execute(
        "create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe"
        f" as $$ select {begin} + interval '{ahead_s:f} seconds' $$".encode()
    )


def send(conn: Connection, queue: str, body: Any) -> int:
    row = conn.execute("select pgmq.send(%s, %s)", (queue, None if body is None else Jsonb(body))).fetchone()
    assert row is not None
    msg_id: int = row[0]
    return msg_id


def new_id() -> str:
    return str(uuid.uuid4())


def settings_for(dsn: str, box: Box | None = None, **given: Any) -> Settings:
    quick = {"pod_poll_s": 0.05, "teardown_poll_s": 0.05, "backoff_s": 0.05, "effect_threads": 4}
    outside = {"kubeconfig": box.kubeconfig, "ssh_keys_url": f"{box.ssh_keys_url}/{{user}}.keys"} if box else {}
    return read_settings(database_url=dsn, **{**quick, **outside, **given})


class Worker:
    """One kind, worked on in the test's thread: a batch at a time, so that a test sees every step."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def claim(self, limit: int = 50) -> list[Task]:
        asked_at = time.monotonic()
        with self.running.pool.connection() as conn:
            messages, _ = claims.claim(conn, self.running.kind.queue, limit, self.running.settings.lease)
        self.running.leases.take((message.token for message in messages), asked_at)
        return [Task.of(message) for message in messages]

    def die(self, limit: int = 50) -> list[Task]:
        """Claim, begin what was claimed as `work` does, and end without a word."""
        tasks = self.claim(limit)
        with self.running.pool.connection() as conn:
            begin(self.running, conn, tasks)
        self.running.leases.drop(task.token for task in tasks)
        return tasks

    def run_once(self, limit: int = 50) -> int:
        """Claim and answer one batch; how many messages it had."""
        probe_due(self.running)
        tasks = self.claim(limit)
        if tasks:
            work(self.running, tasks)
        return len(tasks)

    def run(self) -> int:
        """Answer all that is due, and what that makes due; how many messages."""
        total = 0
        while number := self.run_once():
            total += number
            assert total < 10_000, "messages keep each other alive"
        return total

    def run_until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        """Go on until a condition holds; its value."""
        return until(condition, within_s=within_s, work=self.run_once)


def as_kind(kind: AnyKind, settings: Settings) -> Settings:
    """With the rights of this kind's workers, and no more, where the test has given it a superuser's login."""
    if kind.name not in contracts() or settings.pooled:
        return settings
    place = urlsplit(settings.dsn())
    with psycopg.connect(settings.dsn()) as conn:
        if conn.execute("select current_setting('is_superuser')").fetchone() != ("on",):
            return settings
    role = urlencode({"options": f"-c role=pgfleet_worker_{kind.name}"}, quote_via=quote)
    query = "&".join(filter(None, (place.query, role)))
    return settings.model_copy(update={"database_url": SecretStr(place._replace(query=query).geturl())})


def owner_dsn(worker: "Worker") -> str:
    """The connection string that the test has given, for programs that it starts beside this worker."""
    before, _, _ = worker.running.settings.dsn().partition("&options=")
    return before


@contextmanager
def worker_on(kind: AnyKind, settings: Settings, *, watches: bool = False, as_owner: bool = False) -> Iterator[Worker]:
    """With `watches` it follows the outside as a process does; else a test sees every step that there is."""
    settings = settings if as_owner else as_kind(kind, settings)
    with open_pool(settings, 4) as pool, run_kind(kind, settings, pool, Event()) as running:
        watch = kind.watch if watches and isinstance(kind, Kind) else None
        with watch(running) if watch else nullcontext():
            yield Worker(running)


def row_of(conn: Connection, reservation_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select * from public.reservations where reservation_id = %s", (reservation_id,)
        ).fetchone()
    assert row is not None, f"no row {reservation_id}"
    return row


def history_of(conn: Connection, row_id: str) -> list[tuple[str, str]]:
    return conn.execute(
        "select from_status, to_status from public.status_history where row_id = %s order by history_id", (row_id,)
    ).fetchall()


def broken_histories(machine: str, table: str, key: str) -> str:
    """The query for rows whose history has a gap, or ends elsewhere than the row."""
    return f"""
with steps as (
  select row_id, from_status, to_status,
    lag(to_status, 1, '(new)') over (partition by row_id order by history_id) as before,
    last_value(to_status) over (
      partition by row_id order by history_id rows between unbounded preceding and unbounded following) as last
  from public.status_history where machine = '{machine}'
)
select r.{key} from {table} r
left join steps s on s.row_id = r.{key}::text
where s.row_id is null or s.from_status <> s.before or s.last <> r.status
"""


BROKEN_HISTORIES = broken_histories("reservation", "public.reservations", "reservation_id").encode()
WRONG_COUNTS = """
select g.gpu_type, g.held_gpus, coalesce(sum(r.gpus_held), 0)
from public.gpu_types g left join public.reservations r using (gpu_type)
group by g.gpu_type, g.held_gpus, g.total_cluster_gpus
having g.held_gpus <> coalesce(sum(r.gpus_held), 0) or g.held_gpus > g.total_cluster_gpus
"""


def assert_sound(conn: Connection) -> None:
    """What holds at every moment: gap-free histories that agree with the rows, and GPUs counted right."""
    assert conn.execute(BROKEN_HISTORIES).fetchall() == []
    assert conn.execute(WRONG_COUNTS).fetchall() == []


def worker_environment(dsn: str, box: Box | None, **settings: Any) -> dict[str, str]:
    outside = (
        {"PGFLEET_KUBECONFIG": box.kubeconfig, "PGFLEET_SSH_KEYS_URL": f"{box.ssh_keys_url}/{{user}}.keys"}
        if box
        else {}
    )
    own = {f"PGFLEET_{name.upper()}": str(value) for name, value in settings.items()}
    quick = {"dramatiq_worker_timeout": "200", "PGFLEET_LOG_LEVEL": "error"}
    return {**os.environ, "DATABASE_URL": dsn, **quick, **outside, **own}


@contextmanager
def worker_process(
    dsn: str, box: Box | None, module: str = "pgfleet.workers.reservation", threads: int = 2, **settings: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as dramatiq's command line starts it, in a process group of its own."""
    command = [sys.executable, "-m", "dramatiq", module, "-p", "1", "-t", str(threads)]
    environment = worker_environment(dsn, box, **settings)
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the worker and dramatiq's own parent process, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# A worker's modules take two seconds to import: here they are imported once, and workers are forked from there.
FORKS = multiprocessing.get_context("forkserver")


@contextmanager
def forked_worker(dsn: str, module: str, *point: Any, **settings: Any) -> Iterator[ForkServerProcess]:
    """A worker as dramatiq's command line starts it, killed in the end, or at `point`, given as `kill_at.arm` takes it.

    All forked workers of a session are of one module.
    """
    FORKS.set_forkserver_preload(["dramatiq.cli", module])
    process = FORKS.Process(target=_be_worker, args=(module, worker_environment(dsn, None, **settings), *point))
    process.start()
    try:
        yield process
    finally:
        try:
            assert process.pid
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # dead already, or not yet in a group of its own
            process.kill()
        process.join()


def _be_worker(module: str, environment: dict[str, str], *point: Any) -> None:
    os.setsid()
    os.environ.update(environment)
    # As in a process that a command line has started: dramatiq's own workers are forked from this one.
    multiprocessing.set_start_method("fork", force=True)
    if point:
        kill_at.arm(*point)
    arguments = cli.make_argument_parser().parse_args([module, "-p", "1", "-t", "1"])  # type: ignore[no-untyped-call]
    sys.exit(cli.main(arguments))  # type: ignore[no-untyped-call]
