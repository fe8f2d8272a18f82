"""The simulated fleet does what it says, the same for the same seed; and the command sends what its engine plans."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import count, pairwise
from uuid import UUID, uuid4

import pytest

from pgfleet.console.simulate.engine import Beat, Engine, Fleet, Shares, habits, node_name, reported
from pgfleet.console.simulate.sender import KEPT_S, Parcel, Sender, register
from pgfleet.schema.heartbeat import AutoscalerHeartbeat
from worlds.commands import Pgfleet
from worlds.fleet import Connection

FLEET = Fleet(
    nodes=400,
    interval_s=10,
    shares=Shares(dying=0.05, flapping=0.05, late=0.02, duplicate=0.03, lost=0.04, errors=0.05, drift=0.1),
    span_s=600,
    offline_s=60,
)
STEP_S = 0.5


def numbered(fleet: Fleet) -> Engine:
    numbers = count(1)
    return Engine(fleet, lambda: UUID(int=next(numbers)))


def played(fleet: Fleet, span_s: float = 600) -> list[Beat]:
    """All that arrives in so many seconds, asked for a step at a time."""
    engine = numbered(fleet)
    return [beat for step in range(1, int(span_s / STEP_S) + 1) for beat in engine.due(step * STEP_S)]


@pytest.fixture(scope="module")
def beats() -> list[Beat]:
    return played(FLEET)


def test_those_who_die_never_report_again(beats: list[Beat]) -> None:
    dies_at = {node: habit.dies_at for node, habit in enumerate(habits(FLEET))}

    dead = Engine(FLEET).died(FLEET.span_s)

    assert len(dead) == 20
    assert all(60 <= dies_at[node] <= 360 for node in dead)
    assert all(beat.arrives < dies_at[beat.node] for beat in beats)
    assert {beat.node for beat in beats if beat.arrives > 500} == set(range(400)) - set(dead) - silent_at(500)


def silent_at(at: float) -> set[int]:
    """Who says nothing from then to the end of the span."""
    return {node for node, habit in enumerate(habits(FLEET)) if not any(habit.speaks(at + s) for s in range(0, 100, 5))}


def test_the_same_seed_is_the_same_fleet_and_another_is_another(beats: list[Beat]) -> None:
    other = Fleet(FLEET.nodes, FLEET.interval_s, FLEET.shares, FLEET.span_s, FLEET.offline_s, seed=2)

    assert played(FLEET) == beats
    assert habits(other) != habits(FLEET)


def test_what_happens_does_not_depend_on_how_often_one_looks(beats: list[Beat]) -> None:
    fates = {(beat.node, beat.number, beat.arrives, beat.repeat) for beat in beats}

    at_once = numbered(FLEET).due(FLEET.span_s)

    assert {(beat.node, beat.number, beat.arrives, beat.repeat) for beat in at_once} == fates


def test_every_node_reports_every_interval_with_jitter_and_a_phase_of_its_own() -> None:
    quiet = Fleet(nodes=50, interval_s=10, shares=Shares(0, 0, 0, 0, 0, 0, 0))
    times: dict[int, list[float]] = defaultdict(list)
    for beat in played(quiet, 100):
        times[beat.node].append(beat.sent)

    gaps = [after - before for sent in times.values() for before, after in pairwise(sent)]

    assert len(times) == 50
    assert min(gaps) >= 9
    assert max(gaps) <= 11
    assert max(gaps) - min(gaps) > 0.5
    assert len({round(sent[0], 3) for sent in times.values()}) == 50


def test_the_parts_are_what_was_asked_for_within_bounds(beats: list[Beat]) -> None:
    engine = numbered(FLEET)
    first = [beat for beat in engine.due(600) if not beat.repeat]
    planned = len(first) + engine.lost

    parts = {
        "lost": engine.lost / planned,
        "late": sum(beat.arrives > beat.sent for beat in first) / planned,
        "duplicate": sum(beat.repeat for beat in beats) / planned,
        "error": sum(beat.error for beat in first) / planned,
    }

    asked = {"lost": 0.04, "late": 0.02, "duplicate": 0.03, "error": 0.05}
    assert parts == pytest.approx(asked, rel=0.15)
    assert sum(habit.drifted for habit in engine.habits) == 40


def test_a_late_heartbeat_is_older_than_one_that_arrived_before_it() -> None:
    fleet = Fleet(nodes=100, interval_s=10, shares=Shares(0, 0, late=0.05, duplicate=0, lost=0, errors=0))
    newest: dict[int, float] = {}
    overtaken = []
    for beat in played(fleet):
        if beat.arrives > beat.sent and beat.arrives <= 590:
            overtaken.append(beat.sent < newest[beat.node])
        newest[beat.node] = max(beat.sent, newest.get(beat.node, 0))

    # Unless the next one is late, too.
    assert len(overtaken) > 100
    assert sum(overtaken) / len(overtaken) > 0.9


def test_a_repeated_heartbeat_has_the_id_and_time_of_the_first(beats: list[Beat]) -> None:
    firsts = {(beat.node, beat.number): beat for beat in beats if not beat.repeat}
    repeats = [beat for beat in beats if beat.repeat]

    assert len(repeats) > 100
    for beat in repeats:
        first = firsts[beat.node, beat.number]
        assert (beat.id, beat.sent) == (first.id, first.sent)
        assert first.arrives <= beat.arrives
    assert max(Counter(beat.id for beat in beats).values()) == 2


def test_those_who_flap_are_silent_for_longer_than_the_limit_and_come_back() -> None:
    flapping = Fleet(nodes=20, interval_s=10, shares=Shares(0, 1, 0, 0, 0, 0, 0), offline_s=60)
    times: dict[int, list[float]] = defaultdict(list)
    for beat in played(flapping):
        times[beat.node].append(beat.sent)

    for sent in times.values():
        silences = [after - before for before, after in pairwise(sent) if after - before > 60]
        assert len(silences) >= 2
        assert all(80 <= silence <= 112 for silence in silences)
    assert Engine(flapping).flapped(600) == list(range(20))


def test_what_a_node_says_wanders_within_its_bounds(beats: list[Beat]) -> None:
    engine = numbered(FLEET)
    bodies = [reported(engine, beat, "right") for beat in beats[:5000]]

    loads = [body["metrics"]["cpu_percent"] for body in bodies]
    assert 0 <= min(loads) < 20
    assert 80 < max(loads) <= 100
    assert {body["config_hash"] for body in bodies} == {"right", "another"}
    assert all((body["status"] == "error") == (body["error_message"] is not None) for body in bodies)
    assert all(pool["active_instances"] <= pool["current_instances"] for body in bodies for pool in body["pools"])


def test_the_command_sends_what_it_says(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    command = ("simulate", "fleet", "--nodes", "50", "--interval", "0.5", "--for", "2", "--duplicate", "0.1", "--json")

    ended = pgfleet(*command)

    told = ended.json
    found = conn.execute(
        "select count(*), count(distinct message ->> 'id'), count(distinct message ->> 'node_id')"
        " from pgmq.q_node_heartbeats where message ->> 'action' = 'heartbeat'"
    ).fetchone()
    names = [name for (name,) in conn.execute("select name from autoscaler.nodes order by id")]
    assert ended.code == 0
    assert found == (told["sent"], told["unique"], 50)
    assert told["sent"] == told["unique"] + told["duplicated"] > 150
    assert told["duplicated"] > 0
    assert (told["given_up"], told["reconnected"]) == (0, 0)
    assert names == [node_name(node) for node in range(50)]
    assert conn.execute("select count(*) from autoscaler.node_configurations").fetchone() == (50,)


def test_the_next_run_uses_the_same_nodes_and_new_ids(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    command = ("simulate", "fleet", "--nodes", "5", "--interval", "0.2", "--for", "0.6", "--duplicate", "0", "--json")

    both = [pgfleet(*command).json for _ in range(2)]

    assert conn.execute("select count(*) from autoscaler.nodes").fetchone() == (5,)
    ids = conn.execute("select count(distinct message ->> 'id') from pgmq.q_node_heartbeats").fetchone()
    assert ids == (both[0]["unique"] + both[1]["unique"],)


def test_simulated_nodes_are_forgotten_and_no_others(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pgfleet = Pgfleet(dsn, monkeypatch, capsys)
    conn.execute("insert into autoscaler.nodes (name, region) values ('real', 'sim')")
    pgfleet("simulate", "fleet", "--nodes", "3", "--interval", "0.2", "--for", "0.5", "--json")

    ended = pgfleet("simulate", "forget")

    assert ended.out.strip() == "3 simulated nodes deleted"
    assert conn.execute("select name from autoscaler.nodes where deleted_at is null").fetchall() == [("real",)]


def parcel(node_id: int, at: float) -> Parcel:
    message = AutoscalerHeartbeat(id=uuid4(), node_id=node_id, sent_at=datetime.now(UTC), status="ok")
    return Parcel(at, node_id, at, repeat=False, message=message)


def test_what_could_not_be_sent_is_sent_when_the_server_is_back(dsn: str, conn: Connection) -> None:
    (node,) = register(conn, [node_name(0)])
    sender = Sender(dsn)
    sender.waiting.extend(parcel(node.id, at) for at in (0.1, 0.2, 0.3))
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname ="
        " current_database()"
    )

    sender.flush(0.5)
    waited = len(sender.waiting)
    sender.flush(1)
    sender.close()

    assert waited == 3
    assert (sender.tally.sent, sender.tally.given_up, sender.tally.reconnected) == (3, 0, 1)
    assert conn.execute("select count(*) from pgmq.q_node_heartbeats").fetchone() == (3,)


def test_a_node_gives_up_what_it_could_not_send_for_a_minute(dsn: str) -> None:
    sender = Sender(dsn)
    sender.dsn = "postgresql://nobody@/nothing?host=/nowhere"
    assert sender.conn is not None
    sender.conn.close()
    sender.waiting.extend(parcel(1, at) for at in (1, 2, 50))

    sender.flush(KEPT_S + 10)

    assert (sender.tally.given_up, len(sender.waiting)) == (2, 1)
