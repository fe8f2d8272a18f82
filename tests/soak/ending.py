"""How all comes to rest in the end, and what has to hold then. Each check yields sentences."""

from collections.abc import Iterator
from typing import Any

from psycopg.rows import dict_row

from hunt.invariants import COUNTED_TWICE, FAILURES, MACHINES, OF_THE_TEST, TWICE, WRONG_GPUS
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Severity
from pgfleet.schema.printable import printable
from pgfleet.schema.rows.named import ask
from soak.fleet import CLUSTERS, SQL, Fleet, said
from soak.traffic import Told
from worlds.assignments import WRONG_ROWS
from worlds.disks import WRONG_COUNTS as WRONG_SNAPSHOTS
from worlds.fleet import send, until

LIVE = """
select reservation_id::text as reservation_id, user_id from public.reservations
where status in ('pending', 'queued', 'preparing', 'active')
"""
SEATED = "select user_id from hopsworks.user_hopsworks_assignments where status not in ('released', 'failed')"
PODS = ("pods", "services", "configmaps", "secrets", "networkpolicies", "persistentvolumes")
HELD = "select gpu_type, held_gpus from public.gpu_types where held_gpus <> 0"
KNOWN = "select ebs_snapshot_id from public.disk_snapshots where status <> 'deleted' and ebs_snapshot_id is not null"


def rest(fleet: Fleet) -> list[str]:
    """Cancel and release all that lives, and wait; whoever is still not at rest after two minutes."""
    for row in _all(fleet, LIVE):
        send(fleet.conn, "gpu_reservations", {"action": "cancel", **row})
    for row in _all(fleet, SEATED):
        send(fleet.conn, "cluster_assignments", {"action": "release", "reason": "the end", **row})
    try:
        until(lambda: not ask(fleet.conn, SQL["left"]), what="rest")
    except AssertionError:
        return [f"not at rest: {' '.join(map(str, row.values()))}" for row in ask(fleet.conn, SQL["left"])[:8]]
    return []


def wrong(fleet: Fleet, told: Told) -> Iterator[str]:
    """What does not hold of rows, of messages, of what is outside, and of what was said meanwhile."""
    yield from _rows(fleet, told)
    yield from _outside(fleet, len(told.went_back))
    yield from told.odd[:10]
    for receiver in fleet.receivers:
        yield from _order(receiver.got)
    for name, lines in said(fleet):
        if lines:
            yield f"{name} has said {len(lines)} things: {printable(lines[0])}"
    for finding in examine(fleet.conn):
        if finding.severity is Severity.ERROR and finding.check not in OF_THE_TEST:
            yield f"the doctor: {finding.check}: {finding.text}"


def _rows(fleet: Fleet, told: Told) -> Iterator[str]:
    yield from (f"its history does not fit: {row}" for row in ask(fleet.conn, SQL["broken_histories"])[:5])
    for row in ask(fleet.conn, SQL["without_a_row"], ids=told.promised)[:5]:
        yield f"asked for, and there is neither a row nor a dead letter: {row}"
    for query in (TWICE, WRONG_GPUS, WRONG_SNAPSHOTS, WRONG_ROWS, COUNTED_TWICE, FAILURES, HELD):
        yield from (f"{row}" for row in _all(fleet, query)[:5])
    for machine in MACHINES:
        for lost in _all(fleet, f"select row_id, ticket from public.forgotten_{machine}"):
            yield f"{machine} {lost['row_id']} has no message that would move it"
    (server,) = ask(fleet.conn, SQL["server"])
    if server["deadlocks"]:
        yield f"{server['deadlocks']} deadlocks"


def _outside(fleet: Fleet, went_back: int) -> Iterator[str]:
    """Nothing is left, and no pod was made twice but those of reservations that went back to their line meanwhile."""
    state = fleet.box.state()
    for kind in PODS:
        if state["objects"].get(kind):
            yield f"{state['objects'][kind]} {kind} are left in Kubernetes"
    if state["double_creations"] > went_back:
        yield f"{state['double_creations'] - went_back} objects were made twice in Kubernetes"
    for name in CLUSTERS:
        if doubled := fleet.box.hopsworks_state(name)["double_creations"]:
            yield f"{doubled} accounts were made twice in Hopsworks {name}"
    aws: dict[str, Any] = fleet.box.aws.state()
    yield from (f"volume {volume} is left at AWS" for volume in aws["volumes"])
    known = {row["ebs_snapshot_id"] for row in _all(fleet, KNOWN)}
    yield from (f"snapshot {found} at AWS is in no row" for found in aws["snapshots"].keys() - known)


def _order(got: list[Any]) -> Iterator[str]:
    """For one row, each subscription hears of new events in their order."""
    newest: dict[tuple[str, str, str], int] = {}
    for delivery in got:
        for event in delivery.events:
            if event["id"].isdigit():
                row = delivery.path, event["type"].split(".")[1], event["subject"]
                if int(event["id"]) < newest.get(row, 0):
                    yield f"events of {row} came out of order: {event['id']} after {newest[row]}"
                newest[row] = max(newest.get(row, 0), int(event["id"]))


def _all(fleet: Fleet, query: str) -> list[dict[str, Any]]:
    with fleet.conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()
