"""`pgfleet hopsworks`: load and health of clusters, and what operators change of them without showing a secret."""

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from worlds.commands import Ended, Pgfleet
from worlds.database import Connection
from worlds.fleet import new_id
from worlds.outside.hopsworks import (
    HARMLESS,
    HOSTILE,
    KEY,
    KUBECONFIG,
    QUEUE,
    assigned,
    bodies,
    clean,
    fail_check,
    hopsworks,
    line_with,
    open_breaker,
    person,
)

ADD = ("hopsworks", "add", "--name", "eu-1", "--api-url", "https://eu-1.example.org/")
VARIABLE = "PGFLEET_HOPSWORKS_KEY"
OTHER_KEY = "0ther-" + "5ec2e7" * 6


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


@pytest.fixture
def pgfleet(
    fleet_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pgfleet:
    monkeypatch.delenv(VARIABLE, raising=False)
    return Pgfleet(fleet_dsn, monkeypatch, capsys)


def people(conn: Connection, number: int, cluster: str | None, status: str = "", **columns: Any) -> list[str]:
    """So many users: active on the cluster, waiting without one."""
    users = [person(conn, f"auth0|{new_id()}") for _ in range(number)]
    for user in users:
        assigned(conn, user, status or ("active" if cluster else "pending"), cluster, **columns)
    return users


def column(conn: Connection, cluster: str, name: str) -> Any:
    row = conn.execute(f"select {name} from hopsworks.hopsworks_clusters where id = %s".encode(), (cluster,)).fetchone()
    assert row is not None
    return row[0]


def sent(conn: Connection, action: str) -> int:
    query = "select count(*) from pgmq.q_cluster_assignments where message ->> 'action' = %s"
    row = conn.execute(query, (action,)).fetchone()
    assert row is not None
    return int(row[0])


# --- ls


def test_without_a_cluster_it_says_how_one_becomes_known(pgfleet: Pgfleet) -> None:
    end = pgfleet("hopsworks")

    assert end.code == 0
    assert "pgfleet hopsworks add" in end.out


def test_clusters_are_listed_with_their_load_and_who_waits_for_them_and_why(pgfleet: Pgfleet, conn: Connection) -> None:
    eu, us = hopsworks(conn, "eu-1", 4), hopsworks(conn, "us-1", 2)
    owner, *_ = people(conn, 2, eu)
    people(conn, 1, eu, "creating_user", detail="CLUSTER_UNREACHABLE: eu-1: no answer")
    people(conn, 2, us)
    member = person(conn, "auth0|member", owner=owner)
    assigned(conn, member, detail="CLUSTER_FULL: all 4 seats of eu-1 are taken")
    people(conn, 2, None, wanted_cluster_id=us, detail="CLUSTER_FULL: all 2 seats of us-1 are taken")
    people(conn, 1, None, detail="CLUSTER_FULL: no free seat on any of 2 clusters")
    people(conn, 1, None, detail="Waiting for a seat")

    end = pgfleet("hopsworks")

    head = "2 clusters, 5 of 6 seats taken; 2 users wait for any of them: 1 CLUSTER_FULL, 1 pending"
    assert end.out.splitlines()[0] == head
    assert "########.. 75% 3/4 yes 1 CLUSTER_FULL, 1 CLUSTER_UNREACHABLE" in " ".join(
        line_with(end.out, "eu-1").split()
    )
    assert "us-1 full ########## 100% 2/2 yes 2 CLUSTER_FULL" in " ".join(line_with(end.out, "us-1").split())
    told = {row["name"]: row for row in pgfleet("hopsworks", "ls", "--json").json["clusters"]}
    assert told["eu-1"]["waiting"] == {"CLUSTER_FULL": 1, "CLUSTER_UNREACHABLE": 1}
    assert (told["us-1"]["status"], told["us-1"]["assigned"], told["us-1"]["mismatch"]) == ("full", 2, False)
    assert pgfleet("hopsworks", "--json").json["waiting_for_any"] == {"CLUSTER_FULL": 1, "pending": 1}


def test_a_mismatch_is_shown_as_the_documents_count_it(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1")
    people(conn, 2, cluster)
    conn.execute("select hopsworks.increment_cluster_users(%s)", (cluster,))

    end = pgfleet("hopsworks")

    assert "3/10 yes MISMATCH 2" in " ".join(line_with(end.out, "eu-1").split())
    assert "repairs it within five minutes" in end.out
    (row,) = pgfleet("hopsworks", "--json").json["clusters"]
    assert (row["mismatch"], row["current_users"], row["assigned"]) == (True, 3, 2)


def test_a_cluster_that_does_not_answer_is_told_with_what_to_do(pgfleet: Pgfleet, conn: Connection) -> None:
    silent, refused = hopsworks(conn, "silent"), hopsworks(conn, "with space")
    open_breaker(conn, silent, "unreachable", "Hopsworks silent: timeout")
    open_breaker(conn, refused, "api_key", "with space: 401")
    for user in people(conn, 2, silent):
        fail_check(conn, silent, "account", user)

    end = pgfleet("hopsworks")

    assert "no: unreachable" in line_with(end.out, "silent")
    assert "2 account, 1 reachable" in line_with(end.out, "silent")
    assert "\nsilent: timeout; tried again at" in end.out
    assert "with space: 401; do: pgfleet hopsworks rekey 'with space'" in end.out
    told = {row["name"]: row for row in pgfleet("hopsworks", "--json").json["clusters"]}
    breaker = told["silent"]["breaker"]
    assert (breaker["open"], breaker["kind"], breaker["probes"]) == (True, "unreachable", 0)
    assert breaker["retry_at"] is not None
    assert told["silent"]["open_failures"] == {"account": 2, "reachable": 1}


def test_a_cluster_without_seats_has_no_load(pgfleet: Pgfleet, conn: Connection) -> None:
    hopsworks(conn, "empty", 0)

    assert "no seats" in pgfleet("hopsworks").out


# --- show


def test_one_cluster_is_shown_with_its_users_and_what_is_wrong(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, "eu-1", metadata='{"client_id": "a-client", "token": "t0ken-in-metadata"}')
    ada = person(conn, "auth0|ada")
    assigned(conn, ada, "active", cluster)
    fail_check(conn, cluster, "account", ada, "ACCOUNT_GONE: not there")
    fail_check(conn, cluster, "metrics", None, "metrics: no answer")
    open_breaker(conn, cluster, reason="no answer at all")

    end = pgfleet("hopsworks", "show", "eu")

    told = (
        "https://eu.example.org",
        "a-client",
        "1/10",
        "no answer at all",
        "through its kubeconfig",
        "tried again in",
    )
    assert all(words in end.out for words in (*told, "ACCOUNT_GONE", "metrics: no answer", "ada@example.org", "users"))
    shown = pgfleet("hopsworks", "show", cluster, "--json").json
    assert (shown["id"], shown["has_kubeconfig"], shown["client_id"]) == (cluster, True, "a-client")
    assert [failure["check_name"] for failure in shown["failures"]] == ["reachable", "metrics", "account"]
    assert [user["user_id"] for user in shown["users"]] == [ada]
    assert "t0ken" not in end.out + str(shown)


def test_of_many_users_the_limit_is_shown_and_how_many_more(pgfleet: Pgfleet, conn: Connection) -> None:
    people(conn, 3, hopsworks(conn, "eu-1"))

    assert "and 1 more" in pgfleet("hopsworks", "show", "eu-1", "--limit", "2").out


def test_a_password_in_an_address_that_a_service_wrote_is_not_shown(pgfleet: Pgfleet, conn: Connection) -> None:
    hopsworks(conn, "eu-1", api_url="https://u:geheim@eu.example.org/path?token=geheim")
    hopsworks(conn, "eu-2", api_url="https://geheim@eu.example.org")

    told = [pgfleet("hopsworks", "show", name, *more) for name in ("eu-1", "eu-2") for more in ((), ("--json",))]

    assert all("https://***@eu.example.org" in end.out for end in told)
    assert not any("geheim" in end.out for end in told)


@pytest.mark.parametrize("given", ["eu-1", "EU", "prefix of the id"])
def test_a_cluster_is_found_by_name_id_and_beginning(pgfleet: Pgfleet, conn: Connection, given: str) -> None:
    cluster = hopsworks(conn, "eu-1")
    hopsworks(conn, "us-1")

    given = cluster[:18] if given == "prefix of the id" else given

    assert pgfleet("hopsworks", "show", given, "--json").json["id"] == cluster


def test_a_whole_name_wins_and_an_ambiguous_one_lists_candidates(pgfleet: Pgfleet, conn: Connection) -> None:
    prod, twin, other = (hopsworks(conn, name) for name in ("prod", "prod-2", "prod-2"))

    assert pgfleet("hopsworks", "show", "prod", "--json").json["id"] == prod
    for given in ("pro", "prod-2"):
        end = pgfleet("hopsworks", "show", given)
        assert end.code == 1
        assert twin in end.err
        assert other in end.err


@pytest.mark.parametrize("given", ["zzz", "%", ""])
@pytest.mark.parametrize("command", ["show", "drain", "open", "rekey"])
def test_an_unknown_cluster_is_refused(pgfleet: Pgfleet, conn: Connection, command: str, given: str) -> None:
    hopsworks(conn, "eu-1")

    end = pgfleet("hopsworks", command, given)

    assert (end.code, end.out) == (1, "")
    assert "See `pgfleet hopsworks`" in end.err


# --- add and rekey


def test_a_cluster_is_added_with_the_key_of_the_environment(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"{KEY}\n")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)

    end = pgfleet(*ADD, "--max-users", "7", "--metadata-client-id", "c1", "--kubeconfig", str(kubeconfig), "--json")

    assert end.code == 0
    cluster = end.json["id"]
    assert (end.json["name"], end.json["status"], end.json["max_users"]) == ("eu-1", "active", 7)
    stored = [column(conn, cluster, name) for name in ("api_url", "api_key", "kubeconfig", "metadata")]
    assert stored == ["https://eu-1.example.org", KEY, KUBECONFIG, {"client_id": "c1"}]


def test_a_key_is_asked_for_without_showing_it(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda _: KEY)

    end = pgfleet(*ADD)

    assert end.code == 0
    assert "eu-1 added" in end.out
    assert conn.execute("select api_key, kubeconfig from hopsworks.hopsworks_clusters").fetchall() == [(KEY, None)]


def test_a_new_cluster_is_news_for_those_who_wait(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(conn, 1, None)
    monkeypatch.setenv(VARIABLE, KEY)

    pgfleet(*ADD)

    assert sent(conn, "admit") == 1


@pytest.mark.parametrize(
    ("key", "arguments", "said"),
    [
        pytest.param("", (), VARIABLE, id="nobody to ask for the key"),
        pytest.param(f"{KEY} {KEY}", (), "API key", id="two words"),
        pytest.param(f"{KEY}ü", (), "API key", id="no ASCII"),
        pytest.param(KEY, ("--api-url", f"https://u:{KEY}@eu.example.org"), "--api-url", id="a password in the URL"),
        pytest.param(KEY, ("--api-url", f"https://eu.example.org/?key={KEY}"), "--api-url", id="a key in the URL"),
        pytest.param(KEY, ("--api-url", "eu.example.org"), "--api-url", id="no URL"),
        pytest.param(KEY, ("--name", HOSTILE), "--name", id="a name that moves the cursor"),
        pytest.param(KEY, ("--name=-x",), "--name", id="a name that looks like an option"),
        pytest.param(KEY, ("--max-users", "-1"), "--max-users", id="fewer than no seats"),
        pytest.param(KEY, ("--kubeconfig", "/nowhere"), "No such file", id="no kubeconfig"),
    ],
)
def test_what_makes_no_cluster_is_wrong_usage_and_adds_nothing(
    pgfleet: Pgfleet,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv(VARIABLE, key)

    end = pgfleet(*ADD, *arguments)

    assert end.code == 2
    assert said in end.err
    assert KEY not in end.out + end.err
    assert conn.execute("select count(*) from hopsworks.hopsworks_clusters").fetchone() == (0,)


@pytest.mark.parametrize("content", [b"", b"\xff" + KUBECONFIG.encode(), KUBECONFIG.encode() + b"\0"])
def test_a_kubeconfig_that_is_no_text_is_refused_without_quoting_it(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    (tmp_path / "config").write_bytes(content)

    end = pgfleet(*ADD, "--kubeconfig", str(tmp_path / "config"))

    assert end.code == 2
    assert "--kubeconfig" in end.err
    assert KUBECONFIG not in end.err


def test_a_name_is_given_once(pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = hopsworks(conn, "EU-1")
    monkeypatch.setenv(VARIABLE, KEY)

    end = pgfleet(*ADD)

    assert end.code == 1
    assert cluster in end.err


def test_a_key_is_never_an_option(pgfleet: Pgfleet) -> None:
    for command in ("add", "rekey"):
        said = pgfleet("hopsworks", command, "--help").out
        assert "key " in said
        assert "--api-key" not in said
        assert "--key" not in said


def test_another_key_lets_an_open_breaker_be_tried_at_once(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = hopsworks(conn, "eu-1")
    open_breaker(conn, cluster, "api_key")
    monkeypatch.setenv(VARIABLE, OTHER_KEY)
    is_due = "select retry_at <= public.fleet_now() from public.outages"

    end, again = pgfleet("hopsworks", "rekey", "eu-1"), pgfleet("hopsworks", "rekey", "eu-1", "--json")

    assert "eu-1 has another key, which a running assignment worker tries now" in end.out
    assert again.json["result"] == "has this key already"
    assert column(conn, cluster, "api_key") == OTHER_KEY
    assert conn.execute(is_due).fetchone() == (True,)


# --- drain and open


def test_drain_closes_a_cluster_and_says_who_is_on_it_and_where_there_is_room(
    pgfleet: Pgfleet, conn: Connection
) -> None:
    eu, us, away = hopsworks(conn, "eu-1"), hopsworks(conn, "us-1", 3), hopsworks(conn, "away")
    people(conn, 2, eu)
    people(conn, 1, us)
    open_breaker(conn, away)

    end = pgfleet("hopsworks", "drain", "eu-1")

    assert end.code == 0
    assert "eu-1 is in maintenance: 2 users are on it and stay; 2 seats are free elsewhere, and --move" in end.out
    assert column(conn, eu, "status") == "maintenance"
    assert bodies(conn) == []


def test_drain_with_move_asks_its_users_to_leave_in_the_same_transaction(pgfleet: Pgfleet, conn: Connection) -> None:
    eu = hopsworks(conn, "eu-1")
    people(conn, 2, eu)

    end = pgfleet("hopsworks", "drain", "eu-1", "--move", "--json")

    assert (end.json["status"], end.json["users"], end.json["free_elsewhere"]) == ("maintenance", 2, 0)
    assert "2 stay until there is room" in end.json["result"]
    assert bodies(conn) == [{"action": "drain", "cluster_id": eu}]


def test_a_cluster_is_not_closed_where_its_users_can_not_be_asked(pgfleet: Pgfleet, conn: Connection) -> None:
    eu = hopsworks(conn, "eu-1")
    conn.execute("alter table pgmq.q_cluster_assignments rename to q_away")

    end = pgfleet("hopsworks", "drain", "eu-1", "--move")
    conn.execute("alter table pgmq.q_away rename to q_cluster_assignments")

    assert end.code != 0
    assert column(conn, eu, "status") == "active"


def test_a_cluster_out_of_use_stays_so(pgfleet: Pgfleet, conn: Connection) -> None:
    eu = hopsworks(conn, "eu-1", status="inactive")

    assert "is in inactive: nobody is on it" in pgfleet("hopsworks", "drain", "eu-1").out
    assert column(conn, eu, "status") == "inactive"


@pytest.mark.parametrize(("seats", "status"), [(2, "active"), (1, "full"), (0, "full")])
@pytest.mark.parametrize("before", ["maintenance", "inactive", "active"])
def test_open_lets_it_take_users_if_it_has_room(
    pgfleet: Pgfleet, conn: Connection, before: str, seats: int, status: str
) -> None:
    eu = hopsworks(conn, "eu-1")
    people(conn, 1, eu)
    conn.execute("update hopsworks.hopsworks_clusters set status = %s, max_users = %s", (before, seats))

    end = pgfleet("hopsworks", "open", "eu-1", "--json")

    assert (end.code, end.json["status"]) == (0, status)
    assert column(conn, eu, "status") == status


# --- what is shown harmlessly, and what is not shown


def every_command(pgfleet: Pgfleet, name: str) -> list[Ended]:
    commands = [
        ("hopsworks",),
        ("hopsworks", "show", name),
        ("hopsworks", "drain", name),
        ("hopsworks", "drain", name, "--move"),
        ("hopsworks", "open", name),
        ("hopsworks", "rekey", name),
        ("hopsworks", "show", "no such"),
        (*ADD, "--name", f"new {new_id()}"),
        ADD,
        ("doctor",),
        ("dead", "list"),
        ("queues",),
    ]
    return [pgfleet(*command, *more) for command in commands for more in ((), ("--json",))]


def test_no_key_and_no_kubeconfig_is_shown(pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = hopsworks(conn, "eu-1", 3)
    people(conn, 2, cluster)
    open_breaker(conn, cluster, "api_key")
    monkeypatch.setenv(VARIABLE, OTHER_KEY)

    for end in every_command(pgfleet, "eu-1"):
        for secret in (KEY, KUBECONFIG, OTHER_KEY):
            assert secret not in end.out + end.err


def test_no_key_is_shown_where_the_database_refuses_it(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopsworks(conn, "eu-1")
    monkeypatch.setenv(VARIABLE, OTHER_KEY)
    conn.execute("alter table hopsworks.hopsworks_clusters add constraint picky check (api_key like 'k3y%')")

    ends = [pgfleet("hopsworks", "rekey", "eu-1"), pgfleet(*ADD, "--name", "eu-2")]
    conn.execute("alter table hopsworks.hopsworks_clusters drop constraint picky")

    for end in ends:
        assert end.code == 1
        assert "refused" in end.err
        assert OTHER_KEY not in end.out + end.err


def test_hostile_names_are_shown_harmlessly(pgfleet: Pgfleet, conn: Connection) -> None:
    cluster = hopsworks(conn, HOSTILE, metadata='{"client_id": "\\u001b[31mred"}', api_url=f"https://{HOSTILE}")
    hopsworks(conn, f"{HOSTILE}2")
    (user,) = people(conn, 1, cluster, detail=HOSTILE)
    people(conn, 1, None, detail=HOSTILE)
    open_breaker(conn, cluster, "api_key", HOSTILE)
    fail_check(conn, cluster, "account", user, HOSTILE)
    conn.execute("update hopsworks.hopsworks_clusters set current_users = 2 where id = %s", (cluster,))

    commands = (("hopsworks",), ("hopsworks", "show", cluster), ("hopsworks", "show", HOSTILE[:5]), ("doctor",))
    ends = [pgfleet(*command) for command in (*commands, ("hopsworks", "drain", cluster))]

    assert HARMLESS in ends[0].out
    assert HARMLESS in ends[1].out
    assert HARMLESS in ends[2].err
    assert f"pgfleet hopsworks rekey {cluster}" in ends[0].out
    for end in ends:
        assert not set("\x1b\x07\u202e") & set(end.out + end.err)
    assert QUEUE in pgfleet("queues").out


@pytest.mark.parametrize("command", ["", "ls", "show", "add", "rekey", "drain", "open"])
def test_every_command_has_help_with_an_example(pgfleet: Pgfleet, command: str) -> None:
    end = pgfleet("hopsworks", *command.split(), "--help")

    assert end.code == 0
    assert f"Example: pgfleet hopsworks {command}".strip() in end.out
