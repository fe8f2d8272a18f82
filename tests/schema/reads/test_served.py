"""What the API's login reads: all that people look at, of nobody else for a user, and never a secret."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import psycopg
import pytest

import pgfleet.schema.reads as room
from pgfleet.schema.database.migrate import lacking_roles
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Severity
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import speaking_for
from pgfleet.schema.policy.book import limits_of
from pgfleet.schema.reads import (
    about,
    assignment,
    cluster,
    disk,
    hopsworks,
    node,
    operation,
    outage,
    pod,
    queue,
    reservation,
    usage,
)
from pgfleet.schema.reads.event import delivery, subscription
from pgfleet.schema.reads.pages import assignment as assignment_pages
from pgfleet.schema.reads.pages import audit, letter
from pgfleet.schema.reads.pages import cluster as cluster_pages
from pgfleet.schema.reads.pages import disk as disk_pages
from pgfleet.schema.reads.pages import event as event_pages
from pgfleet.schema.reads.pages import node as node_pages
from pgfleet.schema.reads.pages import reservation as reservation_pages
from pgfleet.schema.reads.pages import usage as usage_pages
from pgfleet.schema.reads.pages.keyset import Wanted
from pgfleet.schema.reads.pictures import clusters, figures, gpus, held, machine, nodes, queues
from pgfleet.schema.reads.pictures import usage as pictured_usage
from pgfleet.schema.replay.letters import Filters as Letters
from worlds.api.login import ADA, BOSS, NODE, OPS
from worlds.api.rows import ReadWorld, Things
from worlds.database import Connection

Read = Callable[[Connection, Things], Any]
ALL, GRACE = Wanted(), timedelta(seconds=120)


def _row(conn: Connection, t: Things) -> Any:
    """As those reads take it that ask for more of a row: of one that may not be seen, nothing is asked."""
    return reservation.by_id(conn, t.reservation)


# Each read by its module and name, asked for one user's things; lists are asked for everybody's.
READS: dict[str, Read] = {
    "about.history": lambda c, t: about.history(c, "reservation", [t.reservation]),
    "about.letters": lambda c, t: about.letters(c, reservation.RESERVATION, t.reservation),
    "about.may_read": lambda c, _: about.may_read(c, "public", "dead_letters"),
    "about.messages": lambda c, t: about.messages(c, reservation.RESERVATION, t.reservation),
    "about.now": lambda c, _: about.now(c),
    "assignment.counts": lambda c, _: assignment.counts(c, assignment.UserFilters()),
    "assignment.failures": lambda c, t: assignment.failures(c, t.user),
    "assignment.find_user": lambda c, t: assignment.find_user(c, t.user),
    "assignment.listing": lambda c, _: assignment.listing(c, assignment.UserFilters()),
    "assignment.own_users": lambda c, _: assignment.own_users(c),
    "assignment.requests": lambda c, t: assignment.requests(c, t.user),
    "assignment.resolve_user": lambda c, t: assignment.resolve_user(c, t.user),
    "assignment.team": lambda c, t: assignment.team(c, t.user),
    "assignment.user": lambda c, t: assignment.user(c, t.user),
    "cluster.by_id": lambda c, _: cluster.by_id(c, "x"),
    "cluster.by_score": lambda c, _: cluster.by_score(c),
    "cluster.health": lambda c, _: cluster.health(c),
    "cluster.last_events": lambda c, _: cluster.last_events(c, "x"),
    "cluster.listing": lambda c, _: cluster.listing(c, ended_too=True),
    "cluster.nodes_of": lambda c, _: cluster.nodes_of(c, "x"),
    "cluster.recommendations": lambda c, _: cluster.recommendations(c, "x"),
    "cluster.resolve": lambda c, _: cluster.resolve(c, "ours"),
    "cluster.whole": lambda c, _: cluster.whole(c, cluster.resolve(c, "ours")["cluster_id"]),
    "disk.by_name": lambda c, t: disk.by_name(c, t.user, f"{t.user}-data"),
    "disk.listing": lambda c, _: disk.listing(c, None, lost_too=True, most=50),
    "disk.of_reservation": lambda c, t: (row := _row(c, t)) and disk.of_reservation(c, row),
    "disk.quarantine": lambda c, _: disk.quarantine(c, gone_too=True),
    "disk.resolve": lambda c, t: disk.resolve(c, f"{t.user}-data", t.user),
    "disk.resolve_snapshot": lambda c, t: disk.resolve_snapshot(
        c, disk.resolve(c, f"{t.user}-data", t.user), t.snapshot
    ),
    "disk.snapshots": lambda c, t: disk.snapshots(c, t.disk),
    "event.delivery.by_number": lambda c, t: delivery.by_number(c, t.subscription, 1),
    "event.delivery.listing": lambda c, t: delivery.listing(c, t.user),
    "event.subscription.by_id": lambda c, t: subscription.by_id(c, t.subscription),
    "event.subscription.listing": lambda c, _: subscription.listing(c),
    "event.subscription.resolve": lambda c, t: subscription.resolve(c, t.subscription, t.user),
    "hopsworks.by_id": lambda c, t: hopsworks.by_id(c, t.cluster),
    "hopsworks.failures": lambda c, t: hopsworks.failures(c, t.cluster, 9),
    "hopsworks.free_elsewhere": lambda c, t: hopsworks.free_elsewhere(c, t.cluster),
    "hopsworks.listing": lambda c, _: hopsworks.listing(c),
    "hopsworks.resolve": lambda c, t: hopsworks.resolve(c, f"of-{t.user}"),
    "hopsworks.waiting": lambda c, _: hopsworks.waiting(c),
    "node.by_number": lambda c, _: node.by_number(c, 1),
    "node.count_nodes": lambda c, _: node.count_nodes(c, node.NodeFilters()),
    "node.counts": lambda c, _: node.counts(c),
    "node.last_sweep": lambda c, _: node.last_sweep(c, "node"),
    "node.listing": lambda c, _: node.listing(c, node.NodeFilters()),
    "node.with_pools": lambda c, _: node.with_pools(c, []),
    "operation.by_id": lambda c, t: operation.by_id(c, t.operation),
    "operation.by_ids": lambda c, t: operation.by_ids(c, [t.operation, "none"]),
    "operation.of_disk": lambda c, t: operation.of_disk(c, disk.resolve(c, f"{t.user}-data", t.user)),
    "operation.on_their_way": lambda c, t: operation.on_their_way(c, t.user, f"{t.user}-data"),
    "operation.resolve": lambda c, t: operation.resolve(c, t.operation, t.user),
    "pictures.figures.now": lambda c, _: [row["figure"] for row in figures.now(c)],
    "pictures.figures.over_time": lambda c, _: figures.over_time(c, "gpus", "h100", timedelta(hours=1)),
    "pictures.figures.take": lambda c, _: figures.take(c, "me", 60),
    "pictures.held.use_of_a_day": lambda c, _: held.use_of_a_day(c),
    "pictures.queues.board": lambda c, _: queues.board(c),
    "pictures.queues.depths_of_a_day": lambda c, _: queues.depths_of_a_day(c),
    "pictures.queues.flows_of_a_day": lambda c, _: queues.flows_of_a_day(c),
    "pictures.queues.open_letters": lambda c, _: queues.open_letters(c),
    "pictures.queues.workers": lambda c, _: queues.workers(c),
    "outage.held": lambda c, _: outage.held(c, "gpu_reservations"),
    "outage.recent": lambda c, _: outage.recent(c),
    "pages.assignment.listed": lambda c, _: assignment_pages.listed(c, assignment.UserFilters(), None, ALL),
    "pages.audit.listed": lambda c, _: audit.listed(c, audit.Filters(), ALL),
    "pages.cluster.events": lambda c, _: cluster_pages.events(c, "x", None, ALL),
    "pages.cluster.listed": lambda c, _: cluster_pages.listed(c, cluster_pages.Filters(), ALL),
    "pages.cluster.metrics": lambda c, _: cluster_pages.metrics(c, "x", "y", ALL),
    "pages.disk.listed": lambda c, _: disk_pages.listed(c, disk_pages.Filters(gone_too=True), ALL),
    "pages.disk.operations": lambda c, _: disk_pages.operations(c, None, ALL),
    "pages.event.deliveries": lambda c, t: event_pages.deliveries(c, t.subscription, ALL),
    "pages.event.listed": lambda c, _: event_pages.listed(c, None, None, ALL),
    "pages.letter.by_number": lambda c, _: letter.by_number(c, 1),
    "pages.letter.listed": lambda c, _: letter.listed(c, Letters(answered_too=True), ALL),
    "pages.letter.whole": lambda c, _: (row := letter.by_number(c, 1)) and letter.whole(c, row),
    "pages.node.listed": lambda c, _: node_pages.listed(c, node.NodeFilters(), ALL),
    "pages.reservation.listed": lambda c, _: reservation_pages.listed(c, reservation_pages.Filters(), ALL),
    "pages.usage.listed": lambda c, _: usage_pages.listed(c, usage.read_month(c, None), None, ALL),
    "pictures.clusters.measured": lambda c, _: clusters.measured(c, "x"),
    "pictures.clusters.nodes": lambda c, _: clusters.nodes(c, "x"),
    "pictures.clusters.scores": lambda c, _: clusters.scores(c, ["x"]),
    "pictures.clusters.successors": lambda c, _: clusters.successors(c, "x"),
    "pictures.clusters.troubled": lambda c, _: clusters.troubled(c),
    "pictures.gpus.ending": lambda c, _: gpus.ending(c, None),
    "pictures.gpus.gpu_nodes": lambda c, _: gpus.gpu_nodes(c),
    "pictures.gpus.holders": lambda c, _: gpus.holders(c, ["n"], None),
    "pictures.gpus.stray_pods": lambda c, _: gpus.stray_pods(c, gone_too=True),
    "pictures.machine.moves": lambda c, _: machine.moves(c, "reservation"),
    "pictures.nodes.cells": lambda c, _: nodes.cells(c, ["eu"]),
    "pictures.nodes.heard": lambda c, _: nodes.heard(c, 1),
    "pictures.nodes.lifecycle": lambda c, _: nodes.lifecycle(c, 1),
    "pictures.nodes.metrics": lambda c, _: nodes.metrics(c, 1),
    "pictures.nodes.pools": lambda c, _: nodes.pools(c, 1, 50),
    "pictures.nodes.region_names": lambda c, _: nodes.region_names(c),
    "pictures.nodes.regions": lambda c, _: nodes.regions(c),
    "pictures.usage.of_month": lambda c, _: pictured_usage.of_month(c, usage.read_month(c, None), None),
    "pod.events": lambda c, t: (row := _row(c, t)) and pod.events(c, row),
    "pod.fleet": lambda c, _: pod.fleet(c),
    "pod.jupyter_address": lambda c, t: (row := _row(c, t)) and pod.jupyter_address(c, row),
    "queue.depths": lambda c, _: queue.depths(c),
    "reservation.asked_for": lambda c, t: reservation.asked_for(c, t.reservation, t.user),
    "reservation.by_id": lambda c, t: reservation.by_id(c, t.reservation),
    "reservation.gang": lambda c, t: (row := _row(c, t)) and reservation.gang(c, row),
    "reservation.lines": lambda c, _: reservation.lines(c, ["h100"], GRACE),
    "reservation.lines_of": lambda c, _: reservation.lines_of(c, reservation.types(c), GRACE, 5, brief=True),
    "reservation.listing": lambda c, _: reservation.listing(c, reservation.Filters(ended_too=True)),
    "reservation.logs": lambda c, t: reservation.logs(c, t.reservation),
    "reservation.moves_since": lambda c, _: reservation.moves_since(c, 0),
    "reservation.nobody_on_record": lambda c, t: reservation.nobody_on_record(c, t.user),
    "reservation.place_now": lambda c, t: (row := _row(c, t)) and reservation.place_now(c, row, GRACE),
    "reservation.resolve": lambda c, t: reservation.resolve(c, t.reservation, t.user),
    "reservation.short": lambda c, t: reservation.short(c, t.reservation),
    "reservation.users_of": lambda c, t: reservation.users_of(c, [t.reservation]),
    "reservation.waiting": lambda c, _: reservation.waiting(c, ["h100"]),
    "reservation.types": lambda c, _: reservation.types(c),
    "usage.charges": lambda c, t: usage.charges(c, t.user),
    "usage.credit": lambda c, t: usage.credit(c, usage.resolve(c, t.user)["user_id"]),
    "usage.currency": lambda c, _: usage.currency(c),
    "usage.days": lambda c, t: usage.days(c, t.user, usage.read_month(c, None)),
    "usage.listing": lambda c, _: usage.listing(c, usage.read_month(c, None)),
    "usage.read_month": lambda c, _: usage.read_month(c, "2026-11"),
    "usage.resolve": lambda c, t: usage.resolve(c, t.user),
}
# What others are made of, and what writes.
NO_READS = {
    "pages.keyset.page",
    "resolve.best",
    "resolve.first",
    "pod.reading_along",
    "pod.begin_reading",
    "pod.end_reading",
    "pod.take",
}
# What says nothing of anybody: who asks has given the id.
SAYS_NOTHING = {"reservation.short", "about.may_read", "operation.resolve"}


def reads() -> Iterator[str]:
    for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        module = import_module(found.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if (
                function.__module__ == found.name
                and name[0] != "_"
                and "conn" in inspect.signature(function).parameters
            ):
                yield f"{found.name.removeprefix(room.__name__)[1:]}.{name}"


def asked(world: ReadWorld, who: Principal, name: str, things: Things) -> Any:
    with speaking_for(world.serving, who):
        try:
            return READS[name](world.serving, things)
        except Refusal as refusal:
            return str(refusal).replace(things.user, "")


def test_every_read_is_tried_here() -> None:
    assert set(reads()) == READS.keys() | NO_READS


@pytest.mark.parametrize("who", [ADA, OPS, BOSS, NODE], ids=lambda who: who.role.value)
def test_whoever_it_speaks_for_no_read_needs_a_right_that_it_has_not(world: ReadWorld, who: Principal) -> None:
    refused = []
    for name in READS:
        try:
            asked(world, who, name, world.ada)
        except psycopg.errors.InsufficientPrivilege as error:
            refused.append((name, str(error)))

    assert refused == []


def test_an_operator_sees_everybodys_with_row_level_security_or_without(world: ReadWorld) -> None:
    wrong = []
    for name in READS.keys() - {"about.letters"}:
        everything = READS[name](world.owner, world.mallory)
        if "mallory" in str(everything) and "mallory" not in str(asked(world, OPS, name, world.mallory)):
            wrong.append(name)

    assert wrong == []


def test_a_user_sees_nothing_of_another_where_row_level_security_is_on(world: ReadWorld) -> None:
    told = [
        name
        for name in sorted(READS.keys() - SAYS_NOTHING)
        for things in (world.ada, world.mallory)
        if "mallory" in str(asked(world, ADA, name, things))
    ]

    assert told == [] or not world.rls


@pytest.mark.parametrize(
    "listed",
    [
        lambda c: reservation_pages.listed(c, reservation_pages.Filters(username="ada"), ALL),
        lambda c: disk_pages.listed(c, disk_pages.Filters("ada"), ALL),
        lambda c: disk_pages.operations(c, "ada", ALL),
        lambda c: event_pages.listed(c, "ada", None, ALL),
        lambda c: usage_pages.listed(c, usage.read_month(c, None), ["ada"], ALL),
        lambda c: assignment_pages.listed(c, assignment.UserFilters(), ["ada"], ALL),
        lambda c: audit.listed(c, audit.Filters(who="ada"), ALL),
    ],
)
def test_asked_for_one_user_a_page_has_that_users_rows(world: ReadWorld, listed: Read) -> None:
    with speaking_for(world.serving, ADA if not world.rls else OPS):
        found = listed(world.serving)  # type: ignore[call-arg]  # of a connection alone

    assert "ada" in str(found.rows)
    assert "mallory" not in str(found.rows)


def test_a_user_sees_own_limits_and_an_operator_everybodys(world: ReadWorld) -> None:
    for who, user, seen in ((ADA, "ada", True), (ADA, "mallory", False), (OPS, "mallory", True)):
        with speaking_for(world.serving, who):
            assert bool(limits_of(world.serving, user)) == seen


@pytest.mark.parametrize(
    "column",
    [
        *("reservations.env_vars", "reservations.command", "reservations.jupyter_token", "reservations.asked_hash"),
        *("disks.contents", "api_keys.key_hash", "disk_operations.body"),
        *("event_targets.url", "event_targets.secret"),
    ],
)
def test_it_reads_no_secret(world: ReadWorld, column: str) -> None:
    table, _, name = column.partition(".")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), speaking_for(world.serving, BOSS):
        world.serving.execute(f"select {name} from public.{table}".encode())


@pytest.mark.parametrize(
    "statement",
    [
        "update public.reservations set name = 'x'",
        "insert into autoscaler.nodes (name, region) values ('x', 'eu')",
        "delete from public.dead_letters",
        "select public.keep_house()",
        "delete from pgmq.q_gpu_reservations",
        "select message from pgmq.q_gpu_reservations",
    ],
)
def test_it_writes_nothing_by_itself(world: ReadWorld, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), speaking_for(world.serving, BOSS):
        world.serving.execute(statement.encode())


def test_who_claims_to_be_an_operator_without_that_login_sees_no_more(world: ReadWorld) -> None:
    if world.rls:
        with world.owner.transaction(force_rollback=True):
            world.owner.execute("create role plain_api in role pgfleet_api")
            world.owner.execute("set local session authorization plain_api")
            world.owner.execute(
                """select set_config('request.jwt.claims', '{"sub": "ada", "pgfleet_role": "ADMIN"}', true)"""
            )
            found = world.owner.execute("select user_id from public.reservations").fetchall()

        assert found == [("ada",)]


def test_the_examination_says_which_checks_need_who_may_read_messages(world: ReadWorld) -> None:
    findings = examine(world.serving)

    # Only whoever may read messages looks through them.
    unable = {finding.check for finding in findings if "permission denied" in finding.text}
    assert {"messages"} <= unable <= {"hopsworks", "messages", "references", "partitions"}
    assert any(finding.severity == Severity.OK for finding in findings)
    assert lacking_roles(world.owner) == []
