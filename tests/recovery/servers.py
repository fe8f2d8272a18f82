"""PostgreSQL servers that are restarted, frozen, promoted and restored: embedded ones, at a port of their own."""

import shutil
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg

from pgfleet.console.local import embedded
from pgfleet.console.local.pginstall import find_programs
from pgfleet.schema.database.migrate import migrate
from worlds.database import Connection
from worlds.fleet import until
from worlds.small.kind import SET_UP


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True)
class Server:
    """A server on a data directory; its port may be given to another one when it is stopped."""

    data: Path
    port: int

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@{self.place}/pgfleet"

    def connect(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=5)

    def start(self) -> None:
        self.run(
            *("pg_ctl", "start", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.data / "server.log")),
            *("-o", f"-h 127.0.0.1 -p {self.port} -k {self.data}"),
        )

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "stop", "-w", "-t", "60", "-D", str(self.data), "-m", mode)

    def promote(self) -> None:
        """Returns when it takes writes."""
        self.run("pg_ctl", "promote", "-w", "-t", "60", "-D", str(self.data))

    def copy_to(self, data: Path, *options: str) -> "Server":
        """A copy as it is now, not started; with `-R`, one that follows this server."""
        source = f"postgresql://postgres@{self.place}"
        data.mkdir()
        find_programs(data.parent).own(data)
        self.run("pg_basebackup", "-D", str(data), "-X", "stream", "-c", "fast", "-d", source, *options)
        return replace(self, data=data, port=free_port())

    def set(self, name: str, value: str) -> None:
        with self.connect() as conn:
            conn.execute(f"alter system set {name} = '{value}'")
            conn.execute("select pg_reload_conf()")

        def is_set() -> bool:
            with self.connect() as conn:
                row = conn.execute("select current_setting(%s)", (name,)).fetchone()
            return row is not None and row[0] == value

        until(is_set, within_s=20, what=f"{name} = {value}")

    def freeze(self) -> None:
        """None of its processes answers any more; its kernel does."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on where they were."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the first process alone; returns when the others have found it dead, and ended."""
        processes = self._processes()
        processes[0].kill()
        until(lambda: not any(map(_lives, processes)), what="the end of a server")

    def runs(self) -> bool:
        return any(map(_lives, self._processes()[:1]))

    def end(self) -> None:
        """Whatever state it is in."""
        for process in self._processes():
            # A session ends by itself meanwhile.
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def run(self, name: str, *arguments: str) -> None:
        find_programs(self.data.parent).run(name, *arguments)

    def _processes(self) -> list[psutil.Process]:
        """The first one last, which would restart the others."""
        file = self.data / "postmaster.pid"
        if not file.exists():
            return []
        try:
            first = psutil.Process(int(file.read_text().splitlines()[0]))
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def prepared(folder: Path) -> Path:
    """The data of a stopped server whose database is migrated, and has the small kind's tables."""
    dsn = embedded.start(folder / "prepared")
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SET_UP)
    embedded.stop(folder / "prepared")
    return folder / "prepared"


def copied(prepared_data: Path, folder: Path, wal: Path | None = None, **settings: Any) -> Server:
    """A server of its own on a copy of prepared data, running; its WAL elsewhere, if that is said."""
    programs = find_programs(folder.parent)
    shutil.copytree(prepared_data, folder, copy_function=shutil.copy2)
    with (folder / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    if wal is not None:
        shutil.move(folder / "pg_wal", wal)
        (folder / "pg_wal").symlink_to(wal)
    for path in (folder, *folder.rglob("*"), *([wal, *wal.rglob("*")] if wal else ())):
        programs.own(path) if path.is_dir() else shutil.chown(path, programs.user_id)
    server = Server(folder, free_port())
    server.start()
    return server


def standby_of(primary: Server, folder: Path) -> Server:
    """A running standby, without which nothing commits on the primary: what was acknowledged is on both."""
    standby = primary.copy_to(folder, "-R")
    standby.start()
    primary.set("synchronous_standby_names", "*")

    def follows() -> bool:
        with primary.connect() as conn:
            return conn.execute("select from pg_stat_replication where sync_state = 'sync'").fetchone() is not None

    until(follows, within_s=30, what="a standby that follows")
    return standby
