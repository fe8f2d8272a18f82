"""The embedded PostgreSQL server: started when first needed, and then it runs until it is stopped.

`start` is safe in any number of processes at once and after any crash: one lock file per data directory,
and whether a server runs is found out by asking it, never from a process number in a file.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from psycopg.pq import PGconn, Ping

from pgfleet.console.local.pginstall import Programs, find_programs, make_folder, open_to_all, version
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.errors import FleetError

DATABASE = "pgfleet"
START_S = 60
CRASH_S = 15
# 104 bytes on macOS, 108 on Linux, with the end mark.
_SOCKET_PATH_LIMIT = 103
_PORT = "5432"
# Durability is PostgreSQL's own default: fsync, full_page_writes and synchronous_commit stay on.
_SETTINGS = {
    "port": _PORT,
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A seventh less WAL of heartbeats after a checkpoint, for no CPU that could be measured.
    "wal_compression": "on",
    # Queues are vacuumed by autovacuum: at most this late.
    "autovacuum_naptime": "15s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Refused moves and lost races are errors that workers expect; the log is for the server's own trouble.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}


def default_data_dir() -> Path:
    """`$PGFLEET_DATA_DIR/postgres-18`, else below the user's data directory; for root below /var/lib.

    Raises:
        FleetError: the `local` extra is not installed.
    """
    name = f"postgres-{version().split('.')[0]}"
    given = os.environ.get("PGFLEET_DATA_DIR", "").strip()
    if given:
        return Path(given).expanduser() / name
    if os.geteuid() == 0:
        # The account that runs the server could not go through /root.
        return Path("/var/lib/pgfleet") / name
    from platformdirs import user_data_path  # noqa: PLC0415 - comes with the optional wheel

    return user_data_path("pgfleet") / name


def start(data_dir: Path) -> str:
    """Start the server unless it runs, and make its database at the first time. Returns its DSN.

    Raises:
        FleetError: it does not start; the message says why and what to do.
    """
    data_dir = data_dir.absolute()
    with _alone(data_dir):
        programs = find_programs(data_dir.parent)
        if not (data_dir / "PG_VERSION").exists():
            _create(programs, data_dir)
        if not _answers(data_dir):
            _clear_after_crash(data_dir)
            _launch(programs, data_dir)
        _make_database(_dsn(data_dir, "postgres"))
    return _dsn(data_dir, DATABASE)


def stop(data_dir: Path) -> bool:
    """Stop the server; sessions are ended, what they committed stays. False: it was not running.

    Raises:
        FleetError: it does not stop.
    """
    data_dir = data_dir.absolute()
    if not data_dir.exists():
        return False
    with _alone(data_dir):
        if _ping(data_dir) == Ping.NO_RESPONSE:
            return False
        programs = find_programs(data_dir.parent)
        programs.run("pg_ctl", "stop", "-D", str(data_dir), "-m", "fast", "-w", "-t", str(START_S))
    return True


def running(data_dir: Path) -> str | None:
    """The DSN of a server that takes connections now; it is not started for that."""
    data_dir = data_dir.absolute()
    return _dsn(data_dir, DATABASE) if _ping(data_dir) == Ping.OK else None


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A data directory with a short path. Its server, if one was started, ends with the block, and all is removed."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    # The account that runs the server for root has to go through it.
    folder.chmod(0o711)
    try:
        yield folder / "data"
    finally:
        stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


def socket_dir(data_dir: Path) -> Path:
    """Where the server's socket is: beside its data, or in a short place where that path is too long."""
    if len(os.fsencode(data_dir / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT:
        return data_dir
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    # Always /tmp: a directory that depends on the session would hide a server from the next session.
    return Path("/tmp") / f"pgfleet-{os.geteuid()}-{name}"  # noqa: S108 - owner and mode are checked


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a data directory; the kernel releases it when the process ends, also when it is killed."""
    try:
        make_folder(data_dir.parent)
        path = data_dir.with_name(f"{data_dir.name}.lock")
        path.touch(0o600)
        path.chmod(0o600)  # whoever can read it could hold it
        lock = path.open("w")
    except OSError as error:
        raise FleetError(
            f"{data_dir.parent} can't be written to: {error.strerror}\n"
            "Set PGFLEET_DATA_DIR to a directory that can, or DATABASE_URL to a server of yours."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(programs: Programs, data_dir: Path) -> None:
    """Make the data directory beside its place and move it there when complete: a crash leaves none half made."""
    if programs.account is not None and not open_to_all(data_dir.parent):
        raise FleetError(
            f"PostgreSQL does not run as root, and the account {programs.account} can't reach {data_dir}.\n"
            "Set PGFLEET_DATA_DIR to a directory that every account can go through."
        )
    if data_dir.exists() and any(data_dir.iterdir()):
        raise FleetError(f"{data_dir} holds something else. Empty it, or set PGFLEET_DATA_DIR.")
    draft = data_dir.with_name(f"{data_dir.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(0o700)
    programs.own(draft)
    settings = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    programs.run(
        *("initdb", "-D", str(draft), "--username=postgres", "--auth=trust", "--encoding=UTF8"),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
        *settings,
    )
    draft.rename(data_dir)


def _launch(programs: Programs, data_dir: Path) -> None:
    """pg_ctl gives the server a session of its own, so that Ctrl-C here does not reach it."""
    sockets = socket_dir(data_dir)
    if sockets != data_dir:
        _own_alone(programs, sockets)
    log = data_dir / "server.log"
    try:
        programs.run(
            *("pg_ctl", "start", "-D", str(data_dir), "-l", str(log), "-w", "-t", str(START_S)),
            *("-o", f"-k {shlex.quote(str(sockets))}"),
        )
    except FleetError as error:
        raise FleetError(f"{error}\nThe end of {log}:\n{_tail(log)}") from None


def _own_alone(programs: Programs, folder: Path) -> None:
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        found = folder.lstat()
        if found.st_uid != programs.user_id or found.st_mode & 0o077:
            raise FleetError(f"{folder} belongs to somebody else. Remove it, then start again.") from None
    else:
        programs.own(folder)


def _answers(data_dir: Path) -> bool:
    """Whether a server takes connections; one that is just starting or stopping is waited for."""
    if not _wait(lambda: _ping(data_dir) != Ping.REJECT, START_S):
        raise FleetError(f"The server in {data_dir} is still recovering. See server.log there; try again.")
    return _ping(data_dir) == Ping.OK


def _clear_after_crash(data_dir: Path) -> None:
    """Remove what a killed server left, once its last process is gone.

    PostgreSQL would not start over it while another program has the old process number (after a reboot), or
    nobody has buried the dead process (in a container).
    """
    left = [data_dir / "postmaster.pid", socket_dir(data_dir) / f".s.PGSQL.{_PORT}.lock"]
    if not any(path.exists() for path in left):
        return
    if not _wait(lambda: not _processes(data_dir), CRASH_S):
        numbers = ", ".join(str(number) for number in _processes(data_dir))
        raise FleetError(
            f"An earlier server on {data_dir} does not answer and is still there (processes {numbers}).\n"
            "End it, then start again."
        )
    for path in left:
        path.unlink(missing_ok=True)


def _processes(data_dir: Path) -> list[int]:
    import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - comes with the optional wheel

    return [
        process.pid
        for process in psutil.process_iter(["name", "cwd", "status"])
        if process.info["name"] == "postgres"
        and process.info["cwd"] == str(data_dir.resolve())
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def _make_database(dsn: str) -> None:
    with open_session(dsn, autocommit=True) as conn:
        if conn.execute("select from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
            conn.execute(f"create database {DATABASE}")


def _dsn(data_dir: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(socket_dir(data_dir)), safe='')}&port={_PORT}"


def _ping(data_dir: Path) -> Ping:
    return Ping(PGconn.ping(f"{_dsn(data_dir, 'postgres')}&connect_timeout=3".encode()))


def _wait(done: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _tail(log: Path, lines: int = 10) -> str:
    if not log.exists():
        return "(nothing)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
