"""Disks, capacity, keys, usage and what operators look at, through the API."""

from collections.abc import Iterator

import pytest

from pgfleet.console.main import COMMANDS, load, through_the_api
from pgfleet.console.remote.choosing import HERE, THROUGH_THE_API
from worlds.api.server import Api
from worlds.commands import Pgfleet
from worlds.rows_of_disks import disk


@pytest.fixture
def operator(pgfleet: Pgfleet, api: Api) -> Pgfleet:
    pgfleet.monkeypatch.setenv("PGFLEET_KEY", api.key_of("oper", role="DEVOPS"))
    return pgfleet


def leaves(command: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each command of a group, with its path."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from leaves(each, (*path, name))


@pytest.mark.parametrize("name", sorted(set(THROUGH_THE_API) - {"submit"}))
def test_each_command_takes_the_same_options_both_ways(name: str) -> None:
    local = dict(leaves(load(COMMANDS[name]), (name,)))
    through = dict(leaves(load(through_the_api(name)), (name,)))

    assert through.keys() == local.keys()
    assert {path: _options(each) for path, each in through.items()} == {p: _options(e) for p, e in local.items()}


def _options(command: object) -> list[tuple[str, list[str], bool]]:
    return [(each.name, each.opts, each.required) for each in command.params]  # type: ignore[attr-defined]


def test_each_command_is_known_to_be_here_there_or_at_the_database() -> None:
    assert set(THROUGH_THE_API) | HERE <= set(COMMANDS)
    assert not set(THROUGH_THE_API) & HERE


def test_types_and_lines_are_counts(pgfleet: Pgfleet) -> None:
    listed, as_json = pgfleet("types"), pgfleet("types", "--json").json
    lines, shown, wrong = pgfleet("lines"), pgfleet("lines", "show", "H100"), pgfleet("lines", "show", "h10")

    assert listed.out.splitlines()[0].split()[:3] == ["TYPE", "GPUS", "FREE"]
    assert "h100" in {row["gpu_type"] for row in as_json}
    assert "h100" in lines.out
    assert (shown.code, "Nobody waits for h100" in shown.err) == (0, True)
    assert (wrong.code, "There is no GPU type h10" in wrong.err) == (1, True)


def test_who_waits_is_shown_in_line(pgfleet: Pgfleet, api: Api) -> None:
    """That it is one's own is said; another's id is not."""
    pgfleet("submit", "reservation", "--gpu-type", "h100", "--gpus", "1", "--github-user", "ada")

    shown = pgfleet("lines", "show", "h100", "--json")

    assert shown.code == 0
    assert all(row["is_mine"] for row in shown.json)


def test_a_disk_is_asked_for_and_followed_by_its_operation(pgfleet: Pgfleet, api: Api) -> None:
    made = pgfleet("disk", "create", "data", "--size", "20")
    operation_id = made.out.strip()

    followed = pgfleet("disk", "operation", operation_id, "--timeout", "0", "--json")
    wrong = pgfleet("disk", "create", "data-2", "--size", "1")

    assert made.code == 0, made.err
    found = api.conn.execute("select user_id from public.disk_operations where operation_id = %s", (operation_id,))
    assert found.fetchone() == ("ada",)
    assert (wrong.code, "--size" in wrong.err) == (2, True)
    assert followed.code == 1, followed.err
    assert followed.json["operation_id"] == operation_id


def test_a_disk_is_listed_and_shown(pgfleet: Pgfleet, api: Api) -> None:
    disk(api.conn, "data")

    listed, shown, other = pgfleet("disk"), pgfleet("disk", "show", "data"), pgfleet("disk", "show", "none")

    assert "data" in listed.out
    assert (shown.code, "100 GB" in shown.out) == (0, True)
    assert (other.code, "there is no disk none" in other.err) == (1, True)


def test_keys_are_made_listed_and_revoked(pgfleet: Pgfleet, api: Api) -> None:
    made = pgfleet("keys", "create", "ada", "--hours", "1", "--description", "laptop", "--json").json
    listed = pgfleet("keys")
    revoked = pgfleet("keys", "revoke", str(made["key_id"]))

    assert "laptop" in listed.out
    assert made["key"] not in listed.out
    assert revoked.code == 0, revoked.err
    with api.with_key(made["key"]) as client:
        assert client.get("/v1/me").status_code == 401


def test_nobody_makes_a_key_for_another(pgfleet: Pgfleet, api: Api) -> None:
    api.key_of("eve")

    ended = pgfleet("keys", "create", "eve")

    assert ended.code == 1
    assert ended.out == ""


def test_operators_see_queues_dead_letters_and_the_doctor(operator: Pgfleet) -> None:
    queues, dead, doctor = operator("queues"), operator("dead"), operator("doctor", "--json")

    assert "gpu_reservations" in queues.out
    assert (dead.code, "no open dead letters" in dead.err) == (0, True)
    assert doctor.code in (0, 1)
    assert {"code", "check", "severity", "text", "remedy"} == set(doctor.json[0])


def test_who_is_no_operator_is_told_so(pgfleet: Pgfleet) -> None:
    ended = pgfleet("queues")

    assert (ended.code, "the role USER may not do this" in ended.err) == (1, True)


def test_usage_is_ones_own(pgfleet: Pgfleet) -> None:
    ended = pgfleet("usage", "--month", "2026-11")

    assert ended.code == 0, ended.err


def test_reservations_are_listed(pgfleet: Pgfleet) -> None:
    """One's own, live ones; the same columns as at the database."""
    pgfleet("submit", "reservation", "--gpu-type", "h100", "--gpus", "1", "--github-user", "ada", "--name", "mine")

    listed, as_json, wrong = pgfleet("ls"), pgfleet("ls", "--json").json, pgfleet("ls", "--status", "nope")

    assert listed.out.splitlines()[0].split()[:3] == ["ID", "USER", "NAME"]
    assert [(row["name"], row["status"]) for row in as_json] == [("mine", "pending")]
    assert (wrong.code, "nope is no status" in wrong.err) == (2, True)
