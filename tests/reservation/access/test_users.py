"""Another user is let into a reservation: by keys that its pod learns at once."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.clients.ssh_keys import SshKeys
from pgfleet.workers.runtime.outcomes import TryAgainError
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, row_of
from worlds.reservations import active, ask, create, letters, reach

NS = "gpu-dev"


def core(worker: Worker) -> Any:
    return worker.running.tools.pods.api


def keys_of(worker: Worker, row: dict[str, Any]) -> list[str]:
    found = core(worker).read_namespaced_config_map(f"{row['pod_name']}-keys", NS)
    lines: list[str] = found.data["authorized_keys"].splitlines()
    return lines


def add(conn: Connection, worker: Worker, row_id: str, name: str, **fields: Any) -> dict[str, Any]:
    ask(conn, "add_user", row_id, github_username=name, **fields)
    worker.run()
    return row_of(conn, row_id)


def test_the_running_pod_learns_their_keys_at_once(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    row = add(conn, worker, row_id, "bob")

    keys = worker.running.tools.ssh_keys
    assert keys_of(worker, row) == [*keys.of("ada"), *keys.of("bob")]
    assert row["secondary_users"] == ["bob"]
    assert row["warning"] is None
    assert [done["told"] for done in row["requests_done"]] == ["bob is let in"]


def test_its_kubelet_is_told_by_a_change_of_the_pod(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    name = row_of(conn, row_id)["pod_name"]
    before = core(worker).read_namespaced_pod(name, NS).metadata.annotations

    add(conn, worker, row_id, "bob")

    after = core(worker).read_namespaced_pod(name, NS).metadata.annotations
    assert after.keys() - before.keys() == {"pgfleet/keys-version"}


def test_the_file_stays_the_pods(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    row = add(conn, worker, row_id, "bob")

    found = core(worker).read_namespaced_config_map(f"{row['pod_name']}-keys", NS)
    assert [owner.uid for owner in found.metadata.owner_references] == [row["pod_uid"]]


def test_who_has_no_key_is_named_and_no_more_once_they_have_one(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id = active(conn, worker)
    without = add(conn, worker, row_id, "nokeys-eve")
    monkeypatch.setattr(SshKeys, "of", lambda _, _user: ["ssh-ed25519 AAAA"])

    row = add(conn, worker, row_id, "nokeys-eve")

    assert without["warning"] == "no SSH key of nokeys-eve is on GitHub: they can't log in"
    assert row["warning"] is None
    assert "ssh-ed25519 AAAA" in keys_of(worker, row)


def test_asked_twice_they_are_in_the_file_once(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    add(conn, worker, row_id, "bob")

    row = add(conn, worker, row_id, "bob")

    assert len(keys_of(worker, row)) == len(set(keys_of(worker, row)))
    assert row["secondary_users"] == ["bob"]


def test_two_who_are_added_at_once_are_both_let_in(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    for name in ("bob", "carol"):
        ask(conn, "add_user", row_id, github_username=name)
    worker.run()

    row = row_of(conn, row_id)
    keys = worker.running.tools.ssh_keys
    assert set(keys_of(worker, row)) == {*keys.of("ada"), *keys.of("bob"), *keys.of("carol")}
    assert set(row["secondary_users"]) == {"bob", "carol"}


def test_who_is_added_before_the_pod_is_made_is_in_its_file_from_the_first(conn: Connection, worker: Worker) -> None:
    first = active(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    waiting = create(conn, gpu_count=8)
    reach(conn, worker, waiting, "queued")
    add(conn, worker, waiting, "bob")

    ask(conn, "cancel", first)
    row = reach(conn, worker, waiting, "active")

    keys = worker.running.tools.ssh_keys
    assert keys_of(worker, row) == [*keys.of("ada"), *keys.of("bob")]


def test_who_is_added_while_the_pod_starts_is_in_its_file_in_the_end(
    conn: Connection, worker: Worker, box: Box
) -> None:
    box.starts("never-ready")
    row_id = create(conn)
    worker.run_until(lambda: row_of(conn, row_id)["pod_uid"] is not None)
    ask(conn, "add_user", row_id, github_username="bob")
    worker.run()
    named = row_of(conn, row_id)
    box.behave(NS, named["pod_name"], "ready")

    worker.run_until(lambda: row_of(conn, row_id)["requests_done"])

    keys = worker.running.tools.ssh_keys
    assert named["secondary_users"] == ["bob"]
    assert keys.of("bob")[0] in keys_of(worker, row_of(conn, row_id))


def test_a_server_of_keys_that_can_not_say_is_asked_again(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id = active(conn, worker)
    asked: list[str] = []

    def of(_: SshKeys, user: str) -> list[str]:
        asked.append(user)
        if len(asked) == 1:
            raise TryAgainError("SSH keys of bob: answered 451")
        return ["ssh-ed25519 AAAA"]

    monkeypatch.setattr(SshKeys, "of", of)
    ask(conn, "add_user", row_id, github_username="bob")

    worker.run_until(lambda: row_of(conn, row_id)["requests_done"])

    assert "ssh-ed25519 AAAA" in keys_of(worker, row_of(conn, row_id))


def test_a_reservation_has_at_most_fifty_others(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    conn.execute(
        "update public.reservations set secondary_users = (select jsonb_agg('u' || n) from generate_series(1, 50) n)"
        " where reservation_id = %s",
        (row_id,),
    )

    add(conn, worker, row_id, "bob")

    assert letters(conn) == ["github_username: a reservation has at most 50 other users"]


def test_the_command_says_what_became_of_it(conn: Connection, worker: Worker, pgfleet: Pgfleet) -> None:
    row_id = active(conn, worker)

    sent = pgfleet("add-user", row_id, "bob", "--json").json
    worker.run()

    assert row_of(conn, row_id)["secondary_users"] == ["bob"]
    assert sent["result"] == "add_user sent"
    assert "user added" in pgfleet("watch", row_id, "--once").out


def test_a_worker_that_dies_when_it_has_added_keys_has_added_them_once(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id = active(conn, worker)
    tried: list[str] = []

    def die(*_: Any) -> None:
        tried.append("x")
        raise TryAgainError("died")

    with monkeypatch.context() as dying:
        dying.setattr("pgfleet.workers.clients.kubernetes.inside.keys._tell_kubelet", die)
        ask(conn, "add_user", row_id, github_username="bob")
        worker.run_until(lambda: tried)
    before = row_of(conn, row_id)

    worker.run_until(lambda: row_of(conn, row_id)["requests_done"])

    row = row_of(conn, row_id)
    keys = worker.running.tools.ssh_keys
    assert before["secondary_users"] == []
    assert keys_of(worker, row) == [*keys.of("ada"), *keys.of("bob")]
