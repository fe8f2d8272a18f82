"""Members of pgfleet_migrator migrate in turn, with no right but that, and nothing that they make is a login's."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import MigrationFailed, lacking_roles, migrate, owner_of_before
from pgfleet.schema.doctor.examination import examine
from pgfleet.workers.reservation.machine import KIND
from worlds.database import Connection, quick_server
from worlds.fleet import settings_for, worker_on
from worlds.reservations import create, reach
from worlds.strangers import stranger_on

PASSWORD = secrets.token_urlsafe(16)
LOGINS = f"""
  create role pgfleet_migrator nologin;
  create role ada login password '{PASSWORD}' in role pgfleet_migrator;
  create role bob login password '{PASSWORD}' in role pgfleet_migrator;
  create role eve login password '{PASSWORD}';
"""
OWNERS = """
  select distinct pg_get_userbyid(owner) from (
    select relowner, relnamespace from pg_class union select proowner, pronamespace from pg_proc
    union select typowner, typnamespace from pg_type
    union select nspowner, oid from pg_namespace where nspname <> 'public'
  ) thing (owner, in_schema)
  where in_schema::regnamespace::text in ('public', 'hopsworks', 'autoscaler', 'clusters', 'pgmq', 'auth')
"""
LOOKED_AT = ("schema", "migrations", "rights")


@dataclass(frozen=True)
class Place:
    """A database, by the connection strings of a superuser and of others; `told` is what the superuser was to run."""

    superuser: str
    told: str = ""

    def of(self, login: str) -> str:
        url = urlsplit(self.superuser)
        return url._replace(netloc=f"{login}:{PASSWORD}@{url.netloc.rpartition('@')[2]}").geturl()

    def run(self, statement: str) -> None:
        with psycopg.connect(self.superuser, autocommit=True) as superuser:
            superuser.execute(statement.encode())

    def owners(self) -> list[tuple[str]]:
        with psycopg.connect(self.superuser) as superuser:
            return superuser.execute(OWNERS).fetchall()


@pytest.fixture(scope="module")
def server() -> Iterator[Place]:
    """One of their own, as no role is there but what a superuser has made."""
    with quick_server() as dsn:
        place = Place(dsn)
        place.run(LOGINS)
        yield place


@pytest.fixture(scope="module")
def fleet(server: Place) -> Place:
    """Migrated by ada; a superuser has run what it was told, and no more."""
    server.run("create database fleet")
    place = Place(urlsplit(server.superuser)._replace(path="/fleet").geturl())
    with pytest.raises(MigrationFailed) as refused:
        migrate(place.of("ada"))
    told = "".join(line for line in str(refused.value).splitlines() if line.startswith("  "))
    place.run(told)
    migrate(place.of("ada"))
    with psycopg.connect(place.of("ada")) as ada:
        roles = lacking_roles(ada)
    place.run("".join(roles))
    migrate(place.of("ada"))
    return Place(place.superuser, told)


def test_what_a_superuser_has_to_run_once_is_told(fleet: Place) -> None:
    assert fleet.told.split(";")[:-1] == [
        "  grant create on database fleet to pgfleet_migrator",
        "  grant create on schema public to pgfleet_migrator",
    ]


@pytest.mark.parametrize("login", ["bob", None])
def test_whoever_migrates_makes_what_is_the_roles(fleet: Place, login: str | None) -> None:
    dsn = fleet.of(login) if login else fleet.superuser
    fleet.run("drop function public.give_to_migrator(); drop table public.senders")

    done = migrate(dsn)

    assert {"function public.give_to_migrator", "table public.senders"} <= {each.version for each in done}
    assert fleet.owners() == [("pgfleet_migrator",)]
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert owner_of_before(conn) == ""
        assert [found for found in told_of(conn) if found[1] != "ok"] == []


def test_workers_and_strangers_work_and_the_house_is_kept(fleet: Place, box: Box) -> None:
    fleet.run(f"create role worker login password '{PASSWORD}' in role pgfleet_worker_reservation")
    with (
        psycopg.connect(fleet.of("bob"), autocommit=True) as bob,
        stranger_on(fleet.superuser, role="pgfleet_user", queues=[]) as stranger,
        worker_on(KIND, settings_for(fleet.of("worker"), box)) as worker,
    ):
        row_id = create(stranger, user_id=stranger.info.user, github_user="ada")

        row = reach(bob, worker, row_id, "active")

        assert row["user_id"] == stranger.info.user
        with worker.running.pool.connection() as conn:
            conn.execute("select public.keep_house() from public.retention")
    assert fleet.owners() == [("pgfleet_migrator",)]


def test_a_nodes_queue_that_a_login_makes_by_hand_is_the_roles(fleet: Place) -> None:
    fleet.run("create role node login in role pgfleet_node")
    with psycopg.connect(fleet.of("bob"), autocommit=True) as bob:
        bob.execute("insert into autoscaler.nodes (id, name, region) values (17, 'n', 'eu')")

        bob.execute("select public.bind_node_login('17', 'node')")

        assert bob.execute("select to_regclass('pgmq.q_node_replies_17') is not null").fetchone() == (True,)
    assert fleet.owners() == [("pgfleet_migrator",)]


def test_a_member_who_may_make_roles_makes_those_of_a_new_kind(fleet: Place) -> None:
    fleet.run("alter role ada createrole")
    with psycopg.connect(fleet.of("bob"), autocommit=True) as bob:
        bob.execute("set role pgfleet_migrator")
        bob.execute("create view public.rights_of_nothing as select * from public.rights_of_runtime where false")

        migrate(fleet.of("ada"))

        made = bob.execute("select has_schema_privilege('pgfleet_worker_nothing', 'pgmq', 'usage')").fetchone()
        bob.execute("drop view public.rights_of_nothing")
    assert made == (True,)


def test_a_database_of_before_is_given_to_the_role_by_one_statement(server: Place) -> None:
    server.run("create database hers owner eve")
    hers = Place(urlsplit(server.superuser)._replace(path="/hers").geturl())
    migrate(hers.of("eve"))
    hers.run("create table public.others (); alter table public.others owner to pg_monitor")
    with pytest.raises(MigrationFailed, match=r"belongs to eve(?s:.*)\n  select public.give_to_migrator\(\);"):
        migrate(hers.of("ada"))
    hers.run("grant pgfleet_migrator to eve")
    with psycopg.connect(hers.of("eve"), autocommit=True) as eve:
        migrate(hers.of("eve"))
        assert "select public.give_to_migrator();" in owner_of_before(eve)
        assert ("eve",) in hers.owners()

        eve.execute("select public.give_to_migrator()")

        assert owner_of_before(eve) == ""
    assert sorted(hers.owners()) == [("pg_monitor",), ("pgfleet_migrator",)]
    hers.run("drop function public.give_to_migrator()")
    assert [each.version for each in migrate(hers.of("ada"))] == ["function public.give_to_migrator"]
    assert migrate(hers.of("eve")) == []


def told_of(conn: Connection) -> list[tuple[str, str]]:
    return [(each.check, each.severity) for each in examine(conn) if each.check in LOOKED_AT]
