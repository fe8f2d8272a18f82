"""Warnings, dead letters, outages, full clusters, sweeps, failovers: told as they happen, to who may see them."""

import json

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.replay import letters
from worlds.assignments import KEY, world_in
from worlds.clusters import create as create_cluster
from worlds.database import Connection
from worlds.feed.told import ADA, BOB, OPERATOR, told_of
from worlds.fleet import Worker, assert_sound, broken_histories, move_clock, stop_clock
from worlds.heartbeats import heart_in
from worlds.reservations import active, create, ended
from worlds.strangers import own_login

SECRET = "hush-hush-ZZZ"  # noqa: S105 - of a message in a test


def test_a_warning_is_an_event_of_its_own_which_its_user_may_choose(dsn: str, conn: Connection, worker: Worker) -> None:
    """And the history still agrees with the row."""
    row_id = active(conn, worker)
    stop_clock(conn)
    with told_of(dsn, conn, "reservation", "warned") as told:
        for minutes in (3 * 60 + 30, 15, 10):
            move_clock(conn, minutes * 60)
            worker.run()

        assert told.to(ADA) == told.to(OPERATOR) == ["fleet.reservation.warned"] * 3
        assert told.to(BOB) == []
        delivered = told.delivered(ADA)
        assert {(event["subject"], event["data"]["from"], event["data"]["to"]) for event in delivered} == {
            (row_id, "active", "warned")
        }
        assert delivered[0]["data"]["reason"].startswith("warned: Expires in ")
    assert_sound(conn)


def test_dead_letters_are_told_to_their_sender_and_to_operators(
    dsn: str, conn: Connection, worker: Worker, box: Box
) -> None:
    """Whoever it names: bob hears nothing of what ada does in his name. And nothing of the message."""
    with told_of(dsn, conn, "dead_letter") as told:
        with own_login(conn, ADA) as own:
            body = {"action": "cancel", "reservation_id": "no-id", "user_id": BOB, "x_secret": SECRET}
            own.execute("select pgmq.send('gpu_reservations', %s)", (json.dumps(body),))
        worker.run()
        (number,) = letters.open_numbers(conn, letters.Filters())
        letters.discard(conn, number, "eve")

        assert told.to(ADA) == told.to(OPERATOR) == ["fleet.dead_letter.rejected", "fleet.dead_letter.discarded"]
        assert told.to(BOB) == []
        rejected = told.delivered(ADA)[0]
        assert (rejected["subject"], rejected["data"]["row"]["action"]) == (str(number), "cancel")
        assert SECRET not in json.dumps(rejected)


def test_a_failure_of_ours_is_told_to_the_owner_of_its_row(
    dsn: str, conn: Connection, worker: Worker, box: Box
) -> None:
    """Its message is a ticket, which names nobody; a replay is told, too."""
    with told_of(dsn, conn, "dead_letter") as told:
        box.rule("webhook", image="forbidden", code=409)
        ended(conn, worker, create(conn, dockerimage="example.org/forbidden:1"))
        (number,) = letters.open_numbers(conn, letters.Filters())
        letters.replay(conn, number, OPERATOR)

        assert told.to(ADA) == told.to(OPERATOR) == ["fleet.dead_letter.failed", "fleet.dead_letter.replayed"]
        assert told.to(BOB) == []


def test_an_outage_is_told_to_operators_when_it_begins_and_when_it_is_over(
    dsn: str, conn: Connection, worker: Worker, box: Box
) -> None:
    with told_of(dsn, conn, "outage") as told:
        box.fault("/api", status=503, times=100_000)
        create(conn)
        worker.run_until(lambda: told.delivered(OPERATOR))
        box.clear_faults()
        move_clock(conn, 60)
        worker.run_until(lambda: len(told.delivered(OPERATOR)) > 1)

        assert told.to(OPERATOR) == ["fleet.outage.open", "fleet.outage.over"]
        assert told.to(ADA) == told.to(BOB) == []
        opened, over = told.delivered(OPERATOR)
        assert opened["data"]["reason"].startswith("kubernetes (read): KUBERNETES_UNREACHABLE: ")
        assert over["data"]["row"]["ended_at"] is not None


def test_a_hopsworks_cluster_that_is_full_is_told_and_that_it_has_room(server_dsn: str, template: str) -> None:
    """Its key and address are not."""
    with world_in(server_dsn, template) as world, told_of(world.dsn, world.conn, "hopsworks_cluster") as told:
        place = world.place(seats=1)
        world.active("auth0|ada")
        world.tell("release", "auth0|ada")
        world.conn.execute("update hopsworks.hopsworks_clusters set status = 'maintenance'")

        assert told.to(OPERATOR) == [
            f"fleet.hopsworks_cluster.{state}" for state in ("active", "full", "active", "maintenance")
        ]
        assert told.to(ADA) == told.to(BOB) == []
        full = told.delivered(OPERATOR)[1]
        assert (full["subject"], full["data"]["reason"]) == (place.id, "1 of 1 seats are taken")
        assert KEY not in json.dumps(told.delivered(OPERATOR))
        broken = broken_histories("hopsworks_cluster", "hopsworks.hopsworks_clusters", "id")
        assert world.conn.execute(broken.encode()).fetchall() == []


def test_a_sweep_that_is_held_back_is_told_and_that_it_goes_on(dsn: str, conn: Connection) -> None:
    """More than half of the nodes are silent at once: none is marked offline, until they have been so for long."""
    with heart_in(dsn) as heart, told_of(dsn, conn, "sweep", "held", "watching") as told:
        nodes = [heart.node(name) for name in "abc"]
        heart.tell(*(heart.beat(node) for node in nodes))
        move_clock(conn, 301)
        heart.sweep()
        held = told.to(OPERATOR)
        for _ in range(3):
            move_clock(conn, 301)
            heart.sweep()

        assert held == [*["fleet.sweep.watching"] * 2, "fleet.sweep.held"]
        assert told.to(OPERATOR) == [*held, "fleet.sweep.watching"]
        assert told.delivered(OPERATOR)[2]["data"]["reason"].startswith(
            "3 of 3 are silent: 3 of 3 would go offline at once"
        )
        assert told.to(ADA) == told.to(BOB) == []


def test_a_node_that_is_offline_is_told_to_operators(dsn: str, conn: Connection) -> None:
    with heart_in(dsn) as heart, told_of(dsn, conn, "node", "OFFLINE") as told:
        heart.hear(heart.node())
        move_clock(conn, 301)
        heart.sweep()

        assert told.to(OPERATOR) == ["fleet.node.OFFLINE"]
        assert told.to(ADA) == told.to(BOB) == []


def test_a_failover_is_told_to_operators_and_the_first_leaders_are_none(dsn: str, conn: Connection) -> None:
    """And the history still agrees with the row."""
    with heart_in(dsn) as heart, told_of(dsn, conn, "cluster", "failover", "coordinator_changed") as told:
        cluster = create_cluster(conn)
        nodes = [heart.cluster_node(cluster) for _ in range(2)]
        heart.hear(nodes[0])
        heart.hear(nodes[1])

        heart.hear(nodes[0], status="error")

        assert told.to(OPERATOR) == ["fleet.cluster.coordinator_changed", "fleet.cluster.failover"]
        assert told.to(ADA) == told.to(BOB) == []
        events = told.delivered(OPERATOR)
        assert events[1]["data"]["reason"] == f"primary is {nodes[1]}, before it was {nodes[0]}, in epoch 3"
        assert (events[1]["subject"], events[1]["data"]["row"]["primary_node_id"]) == (cluster, nodes[1])
    assert conn.execute(broken_histories("cluster", "clusters.clusters", "cluster_id").encode()).fetchall() == []
