"""Heartbeats of autoscaler nodes: the machine they drive, whatever order and clock they come with."""

from typing import Any

import pytest

from worlds.fleet import move_clock, new_id
from worlds.heartbeats import OF_ITS_CLOCK, Heart, pool, without


def brought_to(heart: Heart, status: str) -> int:
    """A node with this status; it was heard of 1,000 s ago, or never."""
    node = heart.node()
    if status != "INACTIVE":
        heart.heard(node, 1000, status="error" if status == "ERROR" else "ok")
    if status == "OFFLINE":
        heart.conn.execute("update autoscaler.nodes set status = 'OFFLINE' where id = %s", (node,))
    return node


def lifecycle(heart: Heart, node: int) -> list[tuple[str, str]]:
    found = "select event_type, new_status from autoscaler.node_lifecycle_logs where node_id = %s order by id"
    return heart.all(found, (node,))


def seconds_ago(heart: Heart, node: int) -> float:
    ago = "select extract(epoch from public.fleet_now() - last_heartbeat at time zone 'UTC') from autoscaler.nodes"
    return float(heart.one(f"{ago} where id = %s", (node,)))


MOVES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("INACTIVE", {}, [("FIRST_SEEN", "ACTIVE")]),
    ("INACTIVE", {"status": "error"}, [("FIRST_SEEN", "ACTIVE"), ("ENTERED_ERROR", "ERROR")]),
    ("ACTIVE", {}, []),
    ("ACTIVE", {"status": "error"}, [("ENTERED_ERROR", "ERROR")]),
    ("ERROR", {}, [("RECOVERED", "ACTIVE")]),
    ("ERROR", {"status": "error"}, []),
    ("OFFLINE", {}, [("CAME_ONLINE", "ACTIVE")]),
    ("OFFLINE", {"status": "error"}, [("CAME_ONLINE", "ERROR")]),
]


@pytest.mark.parametrize(("before", "given", "events"), MOVES, ids=[f"{m[0]} {m[1].get('status')}" for m in MOVES])
def test_a_heartbeat_moves_its_node_and_every_change_is_told_once(
    heart: Heart, before: str, given: dict[str, Any], events: list[tuple[str, str]]
) -> None:
    node = brought_to(heart, before)
    told, moved = len(lifecycle(heart, node)), len(heart.history(node))

    heart.hear(node, **given)
    heart.hear(node, **given)

    assert lifecycle(heart, node)[told:] == events
    assert [to for _, to, _ in heart.history(node)[moved:]] == [status for _, status in events]
    author = heart.worker.running.author.name
    query = "select actor from public.status_history where machine = 'node' and row_id = %s order by history_id"
    assert set(heart.all(query, (str(node),))[1 + moved :]) <= {author}
    by = "select triggered_by from autoscaler.node_lifecycle_logs where node_id = %s order by id offset %s"
    assert heart.all(by, (node, told)) == ["heartbeat"] * len(events)


ERRORS: list[dict[str, Any]] = [{"error_message": "disk is full"}, {"status": "ok", "error_message": "x" * 5000}]
ERRORS += [{"status": word} for word in ("error", "ERROR", "Failed", "fault", "critical", "unhealthy", "crashed")]


@pytest.mark.parametrize("given", ERRORS, ids=lambda given: str(given)[:40])
def test_an_error_message_or_an_error_word_is_an_error(heart: Heart, given: dict[str, Any]) -> None:
    node = brought_to(heart, "ACTIVE")

    heart.hear(node, **given)

    row = heart.row(node)
    assert (row["status"], row["error_message"]) == ("ERROR", given.get("error_message"))
    reason = given.get("error_message") or f"it reports: {given['status']}"
    assert heart.history(node)[-1] == ("ACTIVE", "ERROR", reason[:1000])


@pytest.mark.parametrize("status", ["ok", "ACTIVE", "running", "healthy", "busy", "default"])
def test_any_other_word_is_none(heart: Heart, status: str) -> None:
    node = brought_to(heart, "ERROR")

    heart.hear(node, status=status, error_message="")

    assert (heart.status(node), heart.row(node)["error_message"]) == ("ACTIVE", None)


def test_a_late_heartbeat_is_history_and_nothing_else(heart: Heart) -> None:
    node, mine = heart.node(), new_id()
    first = heart.hear(node, config_hash="new", pools=[pool(mine, 7)])
    before = heart.row(node)

    late = heart.hear(node, -60, status="error", config_hash="old", error_message="then", pools=[pool(mine, 3)])

    after = heart.row(node)
    assert without(after, OF_ITS_CLOCK) == without(before, OF_ITS_CLOCK)
    assert after["last_heartbeat"] > before["last_heartbeat"]
    assert heart.kept(node) == [first, late]
    assert (heart.pool(mine)["current_instances"], heart.analytics(mine)) == (7, [7, 3])


def test_of_a_claim_the_latest_wins_whatever_the_order(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(2)]
    bodies = [heart.beat(node, -seconds, status=f"error {seconds}") for node in nodes for seconds in (30, 10, 20)]
    bodies += [heart.beat(nodes[0], -5), heart.beat(nodes[0], -40, status="error")]

    heart.tell(*bodies[::-1])

    assert [heart.status(node) for node in nodes] == ["ACTIVE", "ERROR"]
    assert heart.row(nodes[1])["status_reason"] == "it reports: error 10"
    assert [len(heart.kept(node)) for node in nodes] == [5, 3]


def test_of_two_of_one_time_the_first_that_came_counts(heart: Heart) -> None:
    node, at = heart.node(), heart.time()
    heart.hear(node, sent_at=at)

    heart.hear(node, sent_at=at, status="error")

    assert (heart.status(node), len(heart.kept(node))) == ("ACTIVE", 2)


@pytest.mark.parametrize("ahead_s", [3600, 86400 * 365])
def test_a_clock_in_the_future_keeps_no_node_alive(heart: Heart, ahead_s: float) -> None:
    node = heart.node()
    heart.hear(node, ahead_s)
    ago = seconds_ago(heart, node)

    move_clock(heart.conn, 400)
    swept = heart.sweep()

    assert 0 <= ago < 5
    assert (swept.marked, heart.status(node)) == (1, "OFFLINE")


def test_a_clock_in_the_future_does_not_mix_up_the_order(heart: Heart) -> None:
    nodes = [heart.node() for _ in range(20)]
    bodies = [
        heart.beat(node, 3600 + number, status="error" if number < 4 else "ok") for node in nodes for number in range(5)
    ]

    heart.tell(*bodies)

    assert {heart.status(node) for node in nodes} == {"ACTIVE"}


@pytest.mark.parametrize("sent_at", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_node_whose_clock_is_of_another_age_is_heard_all_the_same(heart: Heart, sent_at: str) -> None:
    node = heart.node()

    heart.hear(node, sent_at=sent_at)

    assert heart.status(node) == "ACTIVE"
    assert seconds_ago(heart, node) < 5


def test_a_deleted_node_stays_deleted_and_untouched(heart: Heart) -> None:
    node, other = heart.node(), heart.node()
    kept = heart.hear(node, -60)
    heart.conn.execute("update autoscaler.nodes set deleted_at = now() where id = %s", (node,))
    before, told = heart.row(node), lifecycle(heart, node)

    body = heart.beat(node, pools=[pool("dead")], metrics={"x": 1}, status="error")
    heart.tell(body, heart.beat(other))

    assert (heart.row(node), lifecycle(heart, node), heart.kept(node)) == (before, told, [kept])
    assert heart.all("select 1 from autoscaler.pools") == []
    assert (heart.letters(), heart.queue(), heart.status(other)) == ([], [], "ACTIVE")


@pytest.mark.parametrize("source", ["autoscaler", "cluster"])
def test_an_unknown_node_waits_and_then_its_heartbeat_is_a_dead_letter(heart: Heart, source: str) -> None:
    node: int | str = 2_000_000_000 if source == "autoscaler" else "node-abcdefgh-2026-01-01-1-abcdefgh"
    known = heart.node()
    first, _ = heart.send(heart.beat(node), heart.beat(known))

    heart.worker.run_once()
    (fresh,) = heart.queue()
    waited = heart.worker.run_once()
    for _ in range(4):
        move_clock(heart.conn, 6)
        assert heart.worker.run_once() == 1
        assert heart.letters() == []
    move_clock(heart.conn, 6)
    heart.worker.run_once()

    assert fresh != first
    assert (waited, heart.status(known)) == (0, "ACTIVE")
    (letter,) = heart.letters()
    assert str(node) in letter
    assert heart.all("select row_id, attempts from public.dead_letters") == [(str(node), 0)]
    assert heart.queue() == []


def test_a_node_that_is_registered_meanwhile_is_heard(heart: Heart) -> None:
    node = heart.node()
    body = heart.beat(node)
    heart.conn.execute("delete from autoscaler.nodes where id = %s", (node,))
    heart.tell(body)
    heart.conn.execute("insert into autoscaler.nodes (id, name, region) values (%s, 'n', 'eu')", (node,))

    move_clock(heart.conn, 6)
    heart.worker.run_once()

    assert (heart.status(node), heart.kept(node), heart.letters()) == ("ACTIVE", [body["id"]], [])
