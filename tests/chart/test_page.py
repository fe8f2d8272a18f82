"""Whoever has only the page of installing: its commands, one block after the other, at a server that stores objects."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.local.pginstall import find_programs
from worlds.chart.objects import Objects, object_server
from worlds.chart.rendering import CONTROL_PLANE, ROOT
from worlds.database import temporary_server
from worlds.network.proxy import proxy_to

if TYPE_CHECKING:
    from collections.abc import Iterator


PAGE = (ROOT / "deploy/docs/install.md").read_text("utf-8")
# What the page names, and who is there in its place.
SERVER = "postgres-primary:5432"


def commands() -> str:
    """Of the first three sections, but for those of containers without Kubernetes."""
    wanted = PAGE.partition("\n### Containers")[0]
    return "\n".join(re.findall(r"```bash\n(.*?)```", wanted, re.DOTALL))


def kubeconfig(cluster: Objects, folder: Path) -> Path:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": cluster.url}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


def addresses(cluster: Objects) -> Iterator[tuple[str, str]]:
    """The Secrets of logins: of whom, and where they lead."""
    for name, secret in cluster.of_kind("Secret").items():
        if name.startswith("pgfleet-db-"):
            yield name.removeprefix("pgfleet-db-"), base64.b64decode(secret["data"]["DATABASE_URL"]).decode()


@pytest.fixture
def empty_server() -> Iterator[str]:
    """A server of its own, as roles are a server's; the page makes the database of its own name."""
    with temporary_server() as dsn:
        elsewhere = urlsplit(dsn)._replace(path="/postgres").geturl()
        with psycopg.connect(elsewhere, autocommit=True) as admin:
            admin.execute("drop database pgfleet")
        yield elsewhere


def test_the_commands_of_the_page_install_it(empty_server: str, tmp_path: Path) -> None:
    programs = find_programs(tmp_path).folder
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ["PATH"]])
    with object_server() as cluster, proxy_to(empty_server) as proxy:
        place = proxy.dsn.rpartition("@")[2].partition("/")[0]
        environment = {"PATH": path, "KUBECONFIG": str(kubeconfig(cluster, tmp_path)), "HOME": str(tmp_path)}
        script = commands().replace(SERVER, place)
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

        logins = dict(addresses(cluster))
        assert logins.keys() == {*kinds(), "api", "migrator", "monitor"}
        for name, address in logins.items():
            with psycopg.connect(address) as conn:
                assert conn.execute("select current_user").fetchone() == (f"login_{name}",)
        wanted = {*(f"pgfleet-{kind}" for kind in kinds()), "pgfleet-api"}
        assert {name for _, namespace, name in cluster.names() if namespace == CONTROL_PLANE} >= wanted
