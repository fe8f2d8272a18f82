"""Whose silence it is: ours, where nobody looked or heard, or that of most nodes at once, which ends as well."""

from typing import Any

import pytest

from pgfleet.workers.runtime import metrics
from worlds.clusters import cluster_row, create
from worlds.fleet import move_clock
from worlds.heartbeats import Heart

LIMIT_S = 300
BELIEVED = "Heartbeat timeout after 5 minutes, believed after 15 minutes"


def watched(heart: Heart, seconds: float, nodes: list[Any] | None = None, every_s: float = 15) -> Any:
    """Time goes by, with a sweep every so often; who lives is heard before each. What the last sweep saw."""
    for _ in range(int(seconds / every_s)):
        move_clock(heart.conn, every_s)
        heart.tell(*(heart.beat(node) for node in nodes or []))
        heart.sweep_again()
    return heart.swept("node")


def fleet(heart: Heart, number: int) -> list[int]:
    """Nodes that are heard, and have been watched for long."""
    nodes = [heart.node() for _ in range(number)]
    heart.sweep()
    heart.tell(*(heart.beat(node) for node in nodes))
    heart.sweep_again()
    return nodes


def offline(heart: Heart) -> int:
    return int(heart.one("select count(*) from autoscaler.nodes where status = 'OFFLINE'"))


def led_by(heart: Heart, cluster: str) -> str:
    return str(cluster_row(heart.conn, cluster)["primary_node_id"])


# Of a worker that is down, a database that is down, frozen, promoted or restored: seconds in which nobody looked.
@pytest.mark.parametrize("away_s", [21, 60, 400, 86_400])
def test_after_our_absence_nodes_have_their_time_to_be_heard(heart: Heart, away_s: float) -> None:
    back = fleet(heart, 10)[:5]
    watched(heart, LIMIT_S - 15, back)

    move_clock(heart.conn, away_s)
    first = heart.sweep_again()
    later = watched(heart, LIMIT_S - 15, back)
    meanwhile = offline(heart)
    last = watched(heart, 45, back)

    assert (first.marked, meanwhile) == (0, 0)
    assert first.held_back.startswith("nobody looked before ")
    assert later.held_back.endswith(": from then on nodes have 5 minutes to be heard")
    assert ({heart.status(node) for node in back}, offline(heart), last.held_back) == ({"ACTIVE"}, 5, None)


@pytest.mark.parametrize("limit_s", [20, 300])
def test_an_absence_shorter_than_a_sweep_is_nobodys_silence(heart: Heart, limit_s: float) -> None:
    nodes = [heart.node() for _ in range(20)]
    settings = {"node_offline_s": limit_s}
    heart.sweep(**settings)
    heart.tell(*(heart.beat(node) for node in nodes))

    # Most are back before the sweep looks, the others are not yet: as after a promotion.
    move_clock(heart.conn, 17)
    heart.sweep_again(**settings)
    move_clock(heart.conn, 7)
    heart.tell(*(heart.beat(node) for node in nodes[:12]))
    heart.sweep_again(**settings)
    move_clock(heart.conn, 8)
    heart.tell(*(heart.beat(node) for node in nodes[12:]))
    heart.sweep_again(**settings)

    assert offline(heart) == 0


def test_cluster_nodes_are_not_marked_and_leaders_stay_after_our_absence(heart: Heart) -> None:
    cluster = create(heart.conn)
    nodes = [heart.cluster_node(cluster) for _ in range(3)]
    heart.sweep()
    heart.tell(*(heart.beat(node) for node in nodes))
    before = led_by(heart, cluster)

    move_clock(heart.conn, 600)
    heart.sweep_again()
    move_clock(heart.conn, 15)
    heart.tell(heart.beat(nodes[2]), heart.beat(nodes[1]))
    heart.sweep_again()

    assert ({heart.status(node) for node in nodes}, led_by(heart, cluster)) == ({"online"}, before)
    assert heart.swept("cluster_node").held_back.startswith("nobody looked before ")


def test_our_clock_put_back_by_20_minutes_keeps_no_node_alive_and_marks_none(heart: Heart) -> None:
    dead, *living = fleet(heart, 4)
    heart.tell(*(heart.beat(node) for node in (dead, *living)))

    move_clock(heart.conn, -1200)
    heart.sweep_again()
    heart.tell(*(heart.beat(node, status="error") for node in living))
    told = {heart.status(node) for node in living}
    watched(heart, LIMIT_S + 30, living)

    assert (told, heart.status(dead)) == ({"ERROR"}, "OFFLINE")
    assert {heart.status(node) for node in living} == {"ACTIVE"}


def test_our_clock_put_ahead_by_20_minutes_marks_no_node(heart: Heart) -> None:
    nodes = fleet(heart, 4)
    watched(heart, 30, nodes)

    move_clock(heart.conn, 1200)
    heart.sweep_again()
    watched(heart, 30, nodes)

    assert {heart.status(node) for node in nodes} == {"ACTIVE"}


def test_a_node_that_was_marked_before_our_clock_was_put_back_returns_at_once(heart: Heart) -> None:
    (node,) = fleet(heart, 1)
    watched(heart, LIMIT_S + 30)
    marked = heart.status(node)

    move_clock(heart.conn, -1200)
    heart.tell(heart.beat(node))

    assert (marked, heart.status(node)) == ("OFFLINE", "ACTIVE")


def test_most_nodes_that_are_silent_for_three_times_the_limit_are_believed_gone(
    heart: Heart, capsys: pytest.CaptureFixture[str]
) -> None:
    alive, *dead = fleet(heart, 5)

    held = watched(heart, 3 * LIMIT_S - 15, [alive])
    before = offline(heart)
    last = watched(heart, 45, [alive])

    assert (before, held.silent, held.held_back is not None) == (0, 4, True)
    assert [heart.status(node) for node in (alive, *dead)] == ["ACTIVE"] + ["OFFLINE"] * 4
    assert heart.history(dead[0])[-1] == ("ACTIVE", "OFFLINE", BELIEVED)
    logged = (
        "select reason, triggered_by from autoscaler.node_lifecycle_logs where node_id = %s order by id desc limit 1"
    )
    assert heart.one(f"select row_to_json(l)::text from ({logged}) l", (dead[0],)) == (
        f'{{"reason":"{BELIEVED}","triggered_by":"system"}}'
    )
    assert (last.held_back, last.belief, last.believed) == (None, "after 15 minutes", 4)
    assert metrics.BELIEVED_AT.labels("node")._value.get() == pytest.approx(last.believed_at.timestamp())  # noqa: SLF001
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "sweep.marked_offline" in line]
    assert "believed='after 15 minutes'" in line


def test_three_times_the_limit_is_counted_from_when_we_looked_again(heart: Heart) -> None:
    alive, *_ = fleet(heart, 5)
    move_clock(heart.conn, 3600)
    heart.sweep_again()

    watched(heart, 3 * LIMIT_S - 15, [alive])

    assert offline(heart) == 0
    watched(heart, 45, [alive])
    assert offline(heart) == 4


def test_most_cluster_nodes_that_are_silent_for_three_times_the_limit_are_believed_gone(heart: Heart) -> None:
    cluster = create(heart.conn)
    first, *others = [heart.cluster_node(cluster) for _ in range(3)]
    heart.sweep()
    heart.tell(*(heart.beat(node) for node in (first, *others)))

    watched(heart, 255, others[:1])
    before = {heart.status(node) for node in (first, *others)}
    watched(heart, 45, others[:1])

    assert before == {"online"}
    assert [heart.status(node) for node in (first, *others)] == ["offline", "online", "offline"]
    assert heart.history(first)[-1][2] == "Heartbeat timeout after 90 seconds, believed after 270 seconds"
    assert led_by(heart, cluster) == others[0]


def test_no_lock_that_any_login_can_take_stops_a_sweep(heart: Heart) -> None:
    fleet(heart, 1)
    with heart.other() as anybody:
        for machine in ("node", "cluster_node"):
            anybody.execute("select pg_advisory_lock(hashtext('pgfleet.sweep_offline'), hashtext(%s))", (machine,))

        swept = heart.sweep_again(lease_s=1)

    assert swept.alive == 1
