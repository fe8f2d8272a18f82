"""What has to hold (I1 to I12): at every quiet point, and when all has ended. Each check yields sentences."""

from collections.abc import Iterator
from typing import Any

from hunt.crew import Processes
from hunt.world import World
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Severity
from pgfleet.schema.doctor.program import SCHEMA, SETTINGS
from worlds.assignments import WRONG_ROWS
from worlds.disks import WRONG_COUNTS as WRONG_SNAPSHOTS
from worlds.fleet import broken_histories

MACHINES = {
    "reservation": ("public.reservations", "reservation_id"),
    "disk": ("public.disks", "disk_id"),
    "disk_snapshot": ("public.disk_snapshots", "snapshot_id"),
    "disk_operation": ("public.disk_operations", "operation_id"),
    "assignment": ("hopsworks.user_hopsworks_assignments", "id"),
    "subscription": ("public.event_subscriptions", "subscription_id"),
}
# A message moves its row in one transaction, whoever has it in hand.
TWICE = """
select machine, row_id, msg_id from public.status_history
where msg_id is not null and from_status <> to_status
group by machine, row_id, msg_id, split_part(actor, '@', 1) having count(distinct xmin::text) > 1
"""
# Sent, gone, taken by nobody: it has its row, or its dead letter says why not.
LOST = """
select s.body ->> '{field}' as id from public.sent s
where s.queue = '{queue}' and s.body ->> 'action' = '{action}' and s.gone and not s.taken
  and not exists (select from {table} r where r.{key}::text = s.body ->> '{field}')
  and not exists (select from public.dead_letters d where d.queue = s.queue and d.msg_id = s.msg_id)
"""
REQUESTS = (
    ("gpu_reservations", "create_reservation", "reservation_id", "public.reservations", "reservation_id"),
    ("disk_operations", "create_disk", "operation_id", "public.disk_operations", "operation_id"),
    ("disk_operations", "snapshot_disk", "operation_id", "public.disk_operations", "operation_id"),
    ("cluster_assignments", "assign", "user_id", "hopsworks.user_hopsworks_assignments", "user_id"),
    ("node_heartbeats", "heartbeat", "id", "public.heartbeat_ids", "id"),
)
# An operator may take out GPUs that are held. That no commit gives more than there are is looked at in watch.sql.
WRONG_GPUS = """
select g.gpu_type, g.held_gpus, sum(r.gpus_held) as of_rows
from public.gpu_types g left join public.reservations r using (gpu_type)
group by g.gpu_type having g.held_gpus <> coalesce(sum(r.gpus_held), 0)
"""
COUNTED_TWICE = "select heartbeat_id from autoscaler.node_heartbeats group by 1 having count(*) > 1"
UNBURIED = """
select 1 from public.sent where queue = %s and msg_id = %s and not taken
  and not exists (select from public.dead_letters d where d.queue = %s and d.msg_id = %s)
"""
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
FAILURES = "select queue, reason, message from public.dead_letters where verdict = 'failure' and answered_at is null"


# The clock that is moved is a function that no migration has made, and a test's server need not survive a crash.
OF_THE_TEST = {SCHEMA, SETTINGS}


def always(world: World) -> Iterator[str]:
    """Whatever happens, whenever."""
    for row in world.all("select distinct what, of_row from public.violations"):
        yield f"I4, I11, at a commit: {row['of_row']}: {row['what']}"
    for machine, (table, key) in MACHINES.items():
        for row in world.all(broken_histories(machine, table, key)):
            yield f"I3: the history of {machine} {row} does not fit"
    for row in world.all(TWICE):
        yield f"I2: {row} had its effect twice"
    for query in (WRONG_GPUS, WRONG_SNAPSHOTS, WRONG_ROWS):
        for row in world.all(query):
            yield f"I11: {row}"
    for row in world.all(COUNTED_TWICE):
        yield f"I2: heartbeat {row} is counted twice"
    if world.one(DEADLOCKS):
        yield f"I8: {world.one(DEADLOCKS)} deadlocks"
    yield from world.odd
    yield from _events(world)
    if isinstance(world.crew, Processes):
        yield from (f"I9: {late}" for late in world.crew.late)


def at_the_end(world: World) -> Iterator[str]:
    """When all is at rest and sweeps have looked."""
    yield from always(world)
    yield from _lost(world)
    for machine in MACHINES:
        for row in world.all(f"select row_id, ticket from public.forgotten_{machine}"):
            yield f"I4: {machine} {row['row_id']} has no message that would move it"
    for row in world.all(FAILURES):
        yield f"I12: dead letter in {row['queue']}: {row['reason']}: {row['message']}"
    yield from _outside(world)
    for finding in examine(world.conn):
        if finding.severity is Severity.ERROR and finding.check not in OF_THE_TEST:
            yield f"the doctor: {finding.check}: {finding.text}"


def _lost(world: World) -> Iterator[str]:
    """What was sent or promised, and is nowhere."""
    for queue, action, field, table, key in REQUESTS:
        for row in world.all(LOST.format(queue=queue, action=action, field=field, table=table, key=key)):
            yield f"I1: {action} {row['id']} has neither a row nor a dead letter"
    for queue, msg_id in world.malformed:
        if world.all(UNBURIED, queue, msg_id, queue, msg_id):
            yield f"I6: the malformed message {msg_id} of {queue} is no dead letter"
    for row_id in world.promised:
        taken = "select 1 from public.sent where taken and body ->> 'reservation_id' = %s"
        if not world.all("select 1 from public.reservations where reservation_id = %s", row_id) and not world.all(
            taken, row_id
        ):
            yield f"I1: the API promised {row_id}, and there is no such row"


def _outside(world: World) -> Iterator[str]:
    """Nothing is left, nothing was made twice."""
    state = world.box.state()
    for kind in ("pods", "services", "configmaps", "secrets", "networkpolicies", "persistentvolumes"):
        if state["objects"].get(kind):
            yield f"I12: {state['objects'][kind]} {kind} are left in Kubernetes"
    # A row that has gone back to its line has another pod, of the same name.
    went_back = "select 1 from public.status_history where from_status = 'preparing' and to_status = 'queued'"
    if state["double_creations"] > len(world.all(went_back)):
        yield f"I12: {state['double_creations']} objects were made twice in Kubernetes"
    for row in world.all("select gpu_type, held_gpus from public.gpu_types where held_gpus <> 0"):
        yield f"I11: GPUs are still held: {row}"
    for name in ("one", "two"):
        doubled = world.box.hopsworks_state(name)["double_creations"]
        if doubled:
            yield f"I12: {doubled} accounts were made twice in Hopsworks {name}"
    if world.box.aws_url:
        yield from _aws(world)


def _aws(world: World) -> Iterator[str]:
    state: dict[str, Any] = world.box.aws.state()
    for volume in state["volumes"]:
        yield f"I12: volume {volume} is left at AWS"
    kept = {row["id"] for row in world.all("select ebs_snapshot_id as id from public.disk_snapshots")}
    for snapshot in state["snapshots"].keys() - kept:
        yield f"I12: snapshot {snapshot} at AWS is in no row"
    for row in world.all("select resource_id, reason from public.disk_quarantine"):
        yield f"I12: in quarantine: {row}"
    for row in world.all("select ebs_snapshot_id as id from public.disk_snapshots where status = 'completed'"):
        if row["id"] not in state["snapshots"]:
            yield f"I12: the completed snapshot {row['id']} is not at AWS"


def _events(world: World) -> Iterator[str]:
    """For one row, each subscription hears of new events in order."""
    for receiver in world.receivers:
        newest: dict[tuple[str, str], int] = {}
        seen: set[tuple[str, str]] = set()
        for got in list(receiver.got):
            for event in got.events:
                if not event["id"].isdigit() or (got.path, event["id"]) in seen:
                    continue
                seen.add((got.path, event["id"]))
                row = got.path, f"{event['type'].split('.')[1]} {event['subject']}"
                if int(event["id"]) < newest.get(row, 0):
                    yield f"events of {row} came out of order: {event['id']} after {newest[row]}"
                newest[row] = max(newest.get(row, 0), int(event["id"]))
