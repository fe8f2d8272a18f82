"""The image as containers with the least they need: migrated, worked with, and replaced by another one under load."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.console.sandbox.box import Box
from pgfleet.producers.disk import create_disk
from pgfleet.producers.heartbeat import heartbeat
from worlds.containers import Container, Machine, built, inspected, machine, podman
from worlds.database import Connection
from worlds.fleet import assert_sound, until
from worlds.network.ports import free_port
from worlds.network.proxy import proxy_to
from worlds.reservations import create

TAG = "localhost/pgfleet-test"
FIRST, SECOND = (f"{TAG}:{version}" for version in ("0.1.0", "0.1.1"))
# Nothing is waited for longer than it takes.
QUICK = {"PGFLEET_EXPIRY_GRACE_S": 0, "PGFLEET_POD_POLL_S": 0.5, "PGFLEET_TEARDOWN_POLL_S": 0.5}
# Between two rounds of load.
PAUSE_S = 0.3
NAMES = "from importlib.metadata import distributions as d; print(*(x.name.lower().replace('_', '-') for x in d()))"
UNFINISHED = """
select count(*) from unnest(%s::text[]) asked(id)
left join public.reservations r on r.reservation_id::text = asked.id where r.reservation_ended is null
"""


@pytest.fixture(scope="module")
def images() -> Iterator[tuple[str, str]]:
    """Two images of this checkout, which differ in their version, by their names."""
    base = os.environ.get("BASE", "")
    yield built(FIRST, base=base, version="0.1.0") and FIRST, built(SECOND, base=base, version="0.1.1") and SECOND
    podman("rmi", "--force", FIRST, SECOND, check=False)


@dataclass
class Logins:
    """Connection strings by what they are for; each is a login with the rights of that and nothing else."""

    server: str
    database: str
    made: list[str] = field(default_factory=list)

    def dsn(self, name: str) -> str:
        return (
            urlsplit(self.server)._replace(path=f"/{self.database}").geturl().replace("postgres:", f"login_{name}:", 1)
        )

    def make(self, admin: Connection, name: str, role: str, options: str = "login") -> None:
        """As deploy/docs/install.md says."""
        login = sql.Identifier(f"login_{name}")
        admin.execute(sql.SQL("create role {} {} in role {}").format(login, sql.SQL(options), sql.Identifier(role)))


@pytest.fixture
def logins(server_dsn: str) -> Iterator[Logins]:
    """A database that is not migrated yet, of the role that migrates, and the login that may; reached by TCP."""
    database = "containers"
    with proxy_to(server_dsn) as proxy, psycopg.connect(server_dsn, autocommit=True) as admin:
        made = Logins(proxy.dsn, database)
        admin.execute("create role pgfleet_migrator nologin")
        made.make(admin, "migrator", "pgfleet_migrator", "login createrole")
        admin.execute("create database containers owner pgfleet_migrator encoding 'UTF8' template template0")
        yield made
        admin.execute("drop database containers with (force)")


@pytest.fixture
def conn(server_dsn: str, logins: Logins) -> Iterator[Connection]:
    """An operator's session in that database."""
    place = urlsplit(server_dsn)._replace(path=f"/{logins.database}").geturl()
    with psycopg.connect(place, autocommit=True) as connection:
        yield connection


@pytest.fixture
def cluster() -> Iterator[Box]:
    with sandbox.spawned(["h100:2x8", "cpu-x86:1x0"], aws=True, ready_delay_s=0.05, termination_delay_s=0.05) as box:
        yield box


@pytest.fixture
def pods(cluster: Box, tmp_path: Path) -> Iterator[Machine]:
    """Where containers run: they are led to the sandbox, whose kubeconfig they can read."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(Path(cluster.kubeconfig).read_text("utf-8"), "utf-8")
    kubeconfig.chmod(0o644)
    outside = {
        **cluster.aws_environment,
        "PGFLEET_CONTENTS_BUCKET": BUCKET,
        "PGFLEET_KUBECONFIG": "/etc/pgfleet/kubeconfig",
        "PGFLEET_SSH_KEYS_URL": f"{cluster.ssh_keys_url}/{{user}}.keys",
    }
    with machine({**QUICK, **outside}, {kubeconfig: "/etc/pgfleet/kubeconfig"}) as made:
        yield made


def migrated(pods: Machine, image: str, logins: Logins, conn: Connection) -> None:
    pods.run(image, "migrate", "--wait=60", DATABASE_URL=logins.dsn("migrator"))
    for kind in kinds():
        logins.make(conn, kind, f"pgfleet_worker_{kind}")
    logins.make(conn, "api", "pgfleet_serve")


def started(pods: Machine, image: str, logins: Logins, kind: str) -> Container:
    return pods.start(image, "worker", kind, DATABASE_URL=logins.dsn(kind))


def served(pods: Machine, image: str, logins: Logins) -> tuple[Container, str]:
    port = free_port()
    command = ("serve", "--host=127.0.0.1", f"--port={port}")
    return pods.start(image, *command, DATABASE_URL=logins.dsn("api")), f"http://127.0.0.1:{port}"


def ready(container: Container) -> bool:
    """Whether `/readyz` says so; false while nobody listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{container.metrics_port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def until_ready(container: Container) -> None:
    until(lambda: ready(container) or not container.running(), what=f"the readiness of {container.name}")
    assert container.running(), container.log()


@dataclass
class Load:
    """What was asked for while it ran."""

    reservations: list[str] = field(default_factory=list)
    disks: list[str] = field(default_factory=list)
    heartbeats: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, conn: Connection, node: int) -> None:
        """A second of an H100 each time, heartbeats of a node, and now and then a disk."""
        self.reservations.append(
            create(conn, gpu_count=1, duration_hours=0.0003, user_id=f"user-{len(self.reservations)}")
        )
        self.heartbeats.append(heartbeat(conn, node_id=node, status="ok"))
        if len(self.heartbeats) % 10 == 1:
            self.disks.append(create_disk("ada", f"disk-{len(self.disks)}", 10, conn))


@contextmanager
def under_load(dsn: str) -> Iterator[Load]:
    """Others go on asking meanwhile."""
    load = Load()
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute("insert into autoscaler.nodes (name, region) values ('n1', 'eu') returning id").fetchone()
        assert row is not None

        def work() -> None:
            while not load.ended.wait(PAUSE_S):
                load.ask(conn, row[0])

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield load
        finally:
            load.ended.set()
            thread.join()


def number(conn: Connection, query: str, *arguments: object) -> int:
    row = conn.execute(query.encode(), arguments).fetchone()
    assert row is not None
    return int(row[0])


def test_the_image_says_what_it_is_and_has_nothing_it_does_not_need(images: tuple[str, str]) -> None:
    found = inspected(images[0])

    assert found["User"] == "10001:10001"
    assert found["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert len(found["Labels"]["org.opencontainers.image.revision"]) == 40
    assert found["Config"]["Entrypoint"] == ["pgfleet"]
    assert (found.get("HealthCheck") or found["Healthcheck"])["Test"][0] == "CMD"  # later and earlier podman
    listed = podman(
        "run", "--rm", "--entrypoint=find", images[0], "/opt/pgfleet", "-name", "sandbox", "-o", "-name", "pip"
    )
    assert listed.stdout == ""


def test_the_bill_of_materials_is_of_what_is_installed(images: tuple[str, str]) -> None:
    bill = json.loads(podman("run", "--rm", "--entrypoint=cat", images[0], "/opt/pgfleet/sbom.cdx.json").stdout)
    names = podman("run", "--rm", "--entrypoint=python", images[0], "-c", NAMES).stdout.split()

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "pgfleet")
    assert {each["name"] for each in bill["components"]} == set(names) - {"pgfleet"}


def test_a_reservation_goes_to_its_end_and_an_upgrade_under_load_loses_nothing(
    images: tuple[str, str], logins: Logins, conn: Connection, pods: Machine, server_dsn: str, cluster: Box
) -> None:
    first, second = images
    migrated(pods, first, logins, conn)
    owner = logins.dsn("migrator")
    old = {kind: started(pods, first, logins, kind) for kind in kinds()}
    api, url = served(pods, first, logins)
    for each in (*old.values(), api):
        until_ready(each)
    pods.healthy(*old.values(), api)
    key = json.loads(pods.run(first, "keys", "create", "ada", "--json", DATABASE_URL=owner))["key"]

    row_id = submitted(url, key)
    until(lambda: state(url, key, row_id) == "expired", what="the end of the reservation")
    with under_load(conn.info.dsn) as load:
        until(lambda: len(load.reservations) > 10)
        pods.run(second, "migrate", DATABASE_URL=owner)
        new = {kind: replaced(pods, second, logins, kind, old[kind]) for kind in kinds()}
        later, _ = served(pods, second, logins)
        until_ready(later)
        assert api.stop() == 0
        asked = len(load.reservations)
        until(lambda: len(load.reservations) > asked + 10)

    until(lambda: number(conn, UNFINISHED, load.reservations) == 0, what="the end of all reservations")
    until(lambda: number(conn, "select count(*) from autoscaler.node_heartbeats") == len(load.heartbeats))
    until(lambda: number(conn, "select count(*) from public.disks where status = 'available'") == len(load.disks))
    statuses = {row[0] for row in conn.execute("select distinct status from public.reservations")}
    assert statuses == {"expired"}
    assert number(conn, "select count(*) from public.dead_letters") == 0
    assert_sound(conn)
    assert cluster.state()["objects"]["pods"] == 0
    assert [line for each in pods.all for line in each.complaints()] == []
    pods.healthy(*new.values(), later)


def replaced(pods: Machine, image: str, logins: Logins, kind: str, old: Container) -> Container:
    """As a rolling upgrade does it: the new one is ready before the old one is asked to end."""
    new = started(pods, image, logins, kind)
    until_ready(new)
    assert old.stop() == 0, old.log()
    return new


def submitted(url: str, key: str) -> str:
    wanted = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 0.001, "github_user": "ada"}
    answer = httpx.post(f"{url}/v1/reservations", json=wanted, headers=proof(key), trust_env=False)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state(url: str, key: str, row_id: str) -> str:
    return str(httpx.get(f"{url}/v1/reservations/{row_id}", headers=proof(key), trust_env=False).json()["status"])


def proof(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
