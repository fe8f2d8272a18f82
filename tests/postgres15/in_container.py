"""Runs tests on a server in a container, by testcontainers and podman: `make testcontainers-test`.

Where a registry is reached, `pytest --postgres=container` takes an image of it. Here it is made: a Debian with its
PostgreSQL 15, which takes the variables that the usual image takes. It needs root, podman, runc and debootstrap.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/pgfleet-postgres:15"
TESTS = ("tests/schema", "tests/runtime")
START_S = 30
# Where root may not raise limits, podman's own are more than it may give.
SETTINGS = '[containers]\ndefault_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]\n'
# Nobody looks at the data after a crash; tests may set it otherwise. The program's own sessions have no jit either.
ENTRYPOINT = """#!/bin/sh
set -eu
PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
export PATH PGDATA
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups"
install -d -m 700 -o postgres -g postgres "$PGDATA" /run/postgresql
printf '%s' "$POSTGRES_PASSWORD" > /run/password && chmod 644 /run/password
$as_postgres initdb --username="$POSTGRES_USER" --pwfile=/run/password --auth=scram-sha-256 --locale=C.UTF-8
rm /run/password
echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
printf 'fsync = off\njit = off\nmax_connections = 200\n' >> "$PGDATA/postgresql.conf"
echo "create database \\"$POSTGRES_DB\\"" | $as_postgres postgres --single postgres
exec $as_postgres postgres -c listen_addresses='*'
"""


def ran(*command: str) -> None:
    subprocess.run(command, check=True)


def has_image() -> bool:
    return subprocess.run(["podman", "image", "exists", IMAGE], check=False).returncode == 0


def make_image() -> None:
    """Some minutes, once; 400 MB."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-postgres-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        ran("debootstrap", "--variant=minbase", "--include=postgresql-15", "bookworm", str(root))
        script = root / "usr/local/bin/entrypoint"
        script.write_text(ENTRYPOINT, "utf-8")
        script.chmod(0o755)
        left_out = [f"--exclude=./{name}" for name in ("proc/*", "sys/*", "dev/*", "var/cache/apt/*", "var/lib/apt/*")]
        ran("tar", "-C", str(root), *left_out, "-cf", str(archive), ".")
        ran("podman", "import", '--change=ENTRYPOINT ["/usr/local/bin/entrypoint"]', str(archive), IMAGE)


@contextmanager
def podman_socket() -> Iterator[str]:
    """The address of podman's own API, which is that of Docker."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-podman-") as folder:
        place, settings = Path(folder) / "podman.sock", Path(folder) / "containers.conf"
        settings.write_text(SETTINGS, "utf-8")
        command = ["podman", "system", "service", "--time=0", f"unix://{place}"]
        server = subprocess.Popen(command, env={**os.environ, "CONTAINERS_CONF": str(settings)})
        try:
            deadline = time.monotonic() + START_S
            while not place.exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("podman's service does not start")
                time.sleep(0.1)
            yield f"unix://{place}"
        finally:
            server.terminate()
            server.wait()


def main() -> int:
    """What pytest is told, or the tests of the schema and of the runtime."""
    if not has_image():
        make_image()
    with podman_socket() as address:
        # Ryuk, which would tidy up, is an image of a registry; who asks is on the same machine as the container.
        ours = {"TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_CONNECTION_MODE": "docker_host"}
        command = [sys.executable, "-m", "pytest", "--postgres=container", f"--postgres-image={IMAGE}"]
        environment = {**os.environ, **ours, "DOCKER_HOST": address}
        return subprocess.run([*command, *(sys.argv[1:] or TESTS)], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
