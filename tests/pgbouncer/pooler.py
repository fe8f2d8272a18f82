"""A PgBouncer in transaction mode in front of a server, as strict as one can be: it keeps nothing of a session."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgfleet.console.local.pginstall import find_programs
from worlds.fleet import until
from worlds.network.ports import free_port

PROGRAM = "pgbouncer"
# Few server connections, taken in turn, so that what one client leaves behind soon meets another.
SERVER_CONNECTIONS = 8
CONFIGURATION = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {server_connections}
server_round_robin = 1
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
{prepared_statements}
"""


@contextmanager
def pooler(server_dsn: str, folder: Path) -> Iterator[str]:
    """Where the pooler takes connections: `postgresql://postgres@127.0.0.1:6543`, for a database to be added."""
    url = f"postgresql://postgres@127.0.0.1:{(port := free_port())}"
    file = folder / "pgbouncer.ini"
    file.write_text(configuration(server_dsn, port), encoding="utf-8")
    log = folder / "pgbouncer.log"
    with log.open("wb") as said:
        process = start(file, said.fileno(), find_programs(folder).account)
    try:
        until(lambda: process.poll() is not None or answers(url), within_s=20, what="PgBouncer's start")
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def start(file: Path, said: int, account: str | None) -> subprocess.Popen[bytes]:
    """As the embedded server's account: PgBouncer refuses to be root, and the socket is that account's."""
    return subprocess.Popen(
        [PROGRAM, file],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        cwd="/",
        user=account,
        group=account,
        extra_groups=None if account is None else [],
    )


def configuration(server_dsn: str, port: int) -> str:
    server = {"user": "postgres", **conninfo_to_dict(server_dsn)}
    return CONFIGURATION.format(
        server=" ".join(f"{name}='{server[name]}'" for name in ("host", "port", "user", "password") if name in server),
        port=port,
        server_connections=SERVER_CONNECTIONS,
        # Before 1.21 PgBouncer knew no prepared statements, nor the setting that turns them off.
        prepared_statements="max_prepared_statements = 0" if version() >= (1, 21) else "",
    )


def version() -> tuple[int, int]:
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def answers(url: str) -> bool:
    """Asked of its own database, so that no connection to the server is made for it."""
    try:
        with psycopg.connect(f"{url}/postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False
