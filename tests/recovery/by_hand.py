"""Three servers that are made, promoted and rewound by the commands of deploy/docs/availability.md, as they stand."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pgfleet.console.local.pginstall import find_programs
from recovery.servers import Server, free_port
from worlds.fleet import REPOSITORY, until

PAGE = REPOSITORY / "deploy/docs/availability.md"
# Where the page says `pg_ctl start`, an operator's server has its port in its own settings.
PG_CTL = """#!/bin/sh
own="-h 127.0.0.1 -p $OWN_PORT -c unix_socket_directories="
case "$1" in
  start) exec {programs}/pg_ctl "$@" -w -t 60 -l "$DATA/server.log" -o "$own" ;;
  *) exec {programs}/pg_ctl "$@" -w -t 60 ;;
esac
"""


def blocks(heading: str) -> list[str]:
    """The commands below a heading of the page."""
    section = PAGE.read_text("utf-8").partition(f"\n### {heading}\n")[2]
    return re.findall(r"```bash\n(.*?)```", re.split(r"\n##+ ", section)[0], re.DOTALL)


@dataclass(frozen=True)
class Machines:
    """The primary as `pg_1`, and places for two standbys; a command runs at one of them."""

    folder: Path
    servers: tuple[Server, Server, Server]

    @property
    def hosts(self) -> str:
        """An address with all of them, as workers have it."""
        ports = ",".join(str(each.port) for each in self.servers)
        hosts = ",".join("127.0.0.1" for _ in self.servers)
        return f"host={hosts} port={ports} user=postgres dbname=pgfleet target_session_attrs=read-write"

    def run(self, commands: str, at: int) -> str:
        """What they print; `at` is the number of the server that one is at."""
        programs = find_programs(self.folder)
        server = self.servers[at - 1]
        places = {
            f"PG_{number}": f"host=127.0.0.1 port={each.port} user=postgres dbname=pgfleet"
            for number, each in enumerate(self.servers, start=1)
        }
        path = f"{self.folder}/bin:{programs.folder}:/usr/bin:/bin"
        environment = {
            **places,
            "URL": self.hosts,
            "DATA": str(server.data),
            "OWN_PORT": str(server.port),
            "PATH": path,
        }
        done = subprocess.run(
            ["/bin/bash", "-e", "-u", "-o", "pipefail", "-c", commands],
            env=environment,
            cwd="/",
            user=programs.account,
            group=programs.account,
            extra_groups=None if programs.account is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def doctor(self) -> int:
        """How `pgfleet doctor` ends."""
        command = [sys.executable, "-m", "pgfleet.console.main", "doctor"]
        ended = subprocess.run(command, env={**os.environ, "DATABASE_URL": self.hosts}, check=False)
        return ended.returncode


def machines(folder: Path, primary: Server) -> Machines:
    programs = find_programs(folder)
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "pg_ctl"
    wrapper.write_text(PG_CTL.format(programs=programs.folder), "utf-8")
    wrapper.chmod(0o755)
    standbys = [Server(folder / f"pg_{number}", free_port()) for number in (2, 3)]
    for each in standbys:
        each.data.mkdir()
        programs.own(each.data)
    return Machines(folder, (primary, standbys[0], standbys[1]))


def die(server: Server) -> None:
    """As by a power cut; returns when nothing of it is left."""
    number = _first(server).pid
    server.end()
    until(lambda: not psutil.pid_exists(number), within_s=60, what="the end of a server")


def hold_back(server: Server) -> psutil.Process:
    """A standby that gets nothing more, until its process is sent SIGCONT."""
    (receiver,) = (each for each in _first(server).children() if "walreceiver" in " ".join(each.cmdline()))
    receiver.send_signal(signal.SIGSTOP)
    return receiver


def _first(server: Server) -> psutil.Process:
    return psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))
