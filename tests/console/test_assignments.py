"""From the command line to the account and back: commands, the worker and a simulated server together."""

from collections.abc import Iterator

import pytest

from pgfleet.console import sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.assignment.machine import KIND
from worlds.commands import Ended, Pgfleet
from worlds.fleet import Connection, Worker, new_id, settings_for, worker_on
from worlds.outside.hopsworks import KEY, KUBECONFIG, person, status_of

ADA, BOB = "auth0|ada", "auth0|bob"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with sandbox.running() as running:
        yield running


@pytest.fixture
def worker(dsn: str, box: Box) -> Iterator[Worker]:
    with worker_on(KIND, settings_for(dsn, box, breaker_open_s=1, seat_recheck_s=0.2)) as running:
        yield running
        box.clear_faults()


class Console:
    """Commands as an operator gives them; none of them may show a secret."""

    def __init__(self, pgfleet: Pgfleet, box: Box) -> None:
        self.pgfleet, self.box = pgfleet, box

    def __call__(self, *arguments: str) -> Ended:
        end = self.pgfleet(*arguments)
        assert not any(secret in end.out + end.err for secret in (KEY, KUBECONFIG))
        return end

    def add(self, name: str, *more: str, key: str = KEY) -> str:
        """A cluster on a server that takes KEY; its name, which no other test uses."""
        name = f"{name}-{new_id()[:8]}"
        url = self.box.hopsworks(name, api_key=KEY)
        self.pgfleet.monkeypatch.setenv("PGFLEET_HOPSWORKS_KEY", key)
        assert self("hopsworks", "add", "--name", name, "--api-url", url, *more).code == 0
        return name


@pytest.fixture
def console(dsn: str, box: Box, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(Pgfleet(dsn, monkeypatch, capsys), box)


def active(conn: Connection, worker: Worker, *users: str) -> None:
    worker.run_until(lambda: all(status_of(conn, user) == "active" for user in users))


def test_a_cluster_is_added_a_user_assigned_shown_and_released(
    console: Console, conn: Connection, worker: Worker, box: Box
) -> None:
    name = console.add("eu")
    person(conn, ADA, name="Ada Lovelace")

    assert console("submit", "assignment", "--user", "ADA@example.org").code == 0
    active(conn, worker, ADA)
    waited = console("submit", "assignment", "--user", ADA, "--wait")
    shown = console("users", "show", "ada")
    console("users", "release", ADA, "--reason", "has left")
    worker.run_until(lambda: status_of(conn, ADA) == "released")

    (account,) = box.hopsworks_state(name)["users"]
    assert waited.out.strip() == account["username"]
    assert all(words in shown.out for words in (account["username"], name, "a seat on", "may log in"))
    assert console("hopsworks", "show", name, "--json").json["current_users"] == 0
    assert f"released from {name}" in console("users").out


def test_waiting_for_a_refused_key_ends_with_another_key(console: Console, conn: Connection, worker: Worker) -> None:
    name = console.add("eu", key="another-key")
    person(conn, ADA)
    console("submit", "assignment", "--user", ADA)
    worker.run_until(lambda: "no: api_key" in console("hopsworks").out)

    listed, examined = console("hopsworks"), console("doctor")
    console.pgfleet.monkeypatch.setenv("PGFLEET_HOPSWORKS_KEY", KEY)
    assert console("hopsworks", "rekey", name).code == 0
    active(conn, worker, ADA)

    assert "no: api_key" in listed.out
    assert "1 CLUSTER_KEY_REFUSED" in listed.out
    assert f"do: pgfleet hopsworks rekey {name}" in listed.out
    assert f"do: pgfleet hopsworks rekey {name}" in examined.out
    assert "another-key" not in listed.out + examined.out
    assert "api_key" not in console("hopsworks").out


def test_the_users_of_a_drained_cluster_move_and_it_is_opened_again(
    console: Console, conn: Connection, worker: Worker
) -> None:
    old = console.add("old")
    for user in (ADA, BOB):
        person(conn, user)
        console("submit", "assignment", "--user", user)
    active(conn, worker, ADA, BOB)

    drained = console("hopsworks", "drain", old, "--move")
    worker.run_until(lambda: console("users").out.count(f"Stays on {old} until there is a seat elsewhere") == 2)
    new = console.add("new", "--max-users", "2")
    worker.run_until(lambda: console("hopsworks", "show", new, "--json").json["current_users"] == 2)
    active(conn, worker, ADA, BOB)

    assert "2 users are on it and asked to leave; 0 seats are free elsewhere: 2 stay until there is room" in drained.out
    assert {row["cluster_name"] for row in console("users", "--json").json["users"]} == {new}
    assert f"{old} is active" in console("hopsworks", "open", old).out
    assert "full" in console("hopsworks", "show", new).out


def test_what_failed_is_replayed_from_its_letter(console: Console, conn: Connection, worker: Worker, box: Box) -> None:
    name = console.add("eu")
    person(conn, ADA)
    box.fault(f"{name}/.*/users$", method="POST", status=400)
    console("submit", "assignment", "--user", ADA)
    worker.run_until(lambda: status_of(conn, ADA) == "failed")
    (letter,) = console("users", "show", ADA, "--json").json["dead_letters"]

    box.clear_faults()
    said = console("dead", "replay", str(letter["dead_letter_id"]))
    active(conn, worker, ADA)

    assert f"the assignment of {ADA} is pending again" in said.out
    assert console("hopsworks", "show", name, "--json").json["current_users"] == 1


def test_a_rejected_assign_is_told_where_it_is_waited_for(console: Console, conn: Connection, worker: Worker) -> None:
    name = console.add("eu")
    person(conn, ADA)
    person(conn, BOB, owner=ADA)
    console("submit", "assignment", "--user", BOB, "--cluster", name)
    worker.run_until(lambda: console("users", "show", BOB, "--json").json["dead_letters"])

    assert "a team member goes to the owner's cluster" in console("users", "show", BOB).out
