"""How a world comes to rest: all that was broken is whole again, and the clock goes on until nobody waits for it."""

import time
from contextlib import suppress
from typing import Any

import psycopg

from hunt.known import CREW, MEMBERS, PEOPLE
from hunt.world import World
from pgfleet.schema.brake import pauses
from pgfleet.schema.kinds import queues
from worlds.fleet import move_clock, send
from worlds.reservations import create

# A worker that begins on a connection that is silent ends after 60 s, and the next one has to begin.
PATIENCE_S = 240.0
# What somebody waits for is at most so far away: foreign clients hide messages for two hours.
LOOK_AHEAD_S = 3 * 3600.0
QUEUES = list(queues())
DUE = " union all ".join(
    f"select '{queue}' as queue, msg_id, message from pgmq.q_{queue}"
    f" where vt <= public.fleet_now() or headers -> 'pgfleet' ? 'claim' and vt <= public.fleet_now() + interval '5 s'"
    for queue in QUEUES
)
NEXT = (
    "select extract(epoch from min(vt) - public.fleet_now())::float8 from ({}) q where vt > public.fleet_now()".format(
        " union all ".join(f"select vt from pgmq.q_{queue}" for queue in QUEUES)
    )
)
# Whoever is not at rest, when all has been cancelled and released.
RESTLESS = """
select 'reservation' as what, reservation_id::text as id, status, current_detailed_status as why
from public.reservations where reservation_ended is null
union all
select 'operation', operation_id::text, status, detail from public.disk_operations
where finished_at is null
union all
select 'disk', disk_id::text, status, detail from public.disks
where status not in ('available', 'deleted', 'purged', 'failed') or pending_snapshot_count > 0
union all
select 'assignment', user_id, status, status_reason from hopsworks.user_hopsworks_assignments
where status not in ('released', 'failed')
union all
select 'outage', dependency, calls, reason from public.outages where ended_at is null
union all
select 'subscription', subscription_id::text, status, detail from public.event_subscriptions
where status in ('pending', 'failing')
"""
HOURS = 20
# They wait while nobody has any GPU of their type.
STARVING = """
select r.reservation_id, r.gpu_type, r.gpu_count, r.status, r.current_detailed_status
from public.reservations r join public.gpu_types g using (gpu_type)
where r.status in ('pending', 'queued') and g.held_gpus = 0 and g.is_active
  and coalesce(r.start_at, '-infinity') < public.fleet_now() - interval '10 minutes'
  and r.disk_name is null
"""
USABLE = "select user_id, user_id as github_user, disk_name from public.disks where status = 'available' limit 4"
LATE = """
select wanted.id, status, current_detailed_status from unnest(%s::text[]) as wanted (id)
left join public.reservations on reservation_id = wanted.id where status is distinct from 'active'
union all
select user_id, status, status_reason from hopsworks.user_hopsworks_assignments
where user_id = 'auth0|p0' and status <> 'active'
"""
LIVE = """
select reservation_id, user_id from public.reservations where status in ('pending', 'queued', 'preparing', 'active')
"""
RESTORED = """
update public.gpu_types set is_active = true where gpu_type = 't4';
update public.gpu_types set total_cluster_gpus = 16 where gpu_type = 'h100';
update hopsworks.hopsworks_clusters set status = 'active' where status = 'maintenance';
"""


class RestlessError(AssertionError):
    """A world that does not come to rest; the text says who is not at rest."""


def mend(world: World) -> None:
    """All that was broken is whole: what is outside answers, all work, and nothing is paused."""
    world.box.clear_faults()
    world.box.clear_starts()
    if world.box.aws_url:
        world.box.aws.clear_faults()
    for name in world.machines:
        world.box.node(name, silent=False)
    for receiver in world.receivers:
        receiver.status = 200
    for number in range(CREW):
        world.crew.go_on(number)
    for row in pauses.paused(world.conn):
        pauses.resume(world.conn, pauses.DELETES if row["what"] == pauses.DELETES else row["name"])


def wait_until_idle(world: World) -> None:
    """Nothing is due and nothing is in hand, at a few looks in a row."""
    deadline, looks = time.monotonic() + PATIENCE_S, 0
    while looks < 3:
        if time.monotonic() > deadline:
            raise RestlessError(f"there is always something due: {world.all(DUE)[:5]}")
        worked = world.crew.work(0.1)
        looks = 0 if worked or world.all(DUE) else looks + 1


def let_all_end(world: World) -> None:
    """Let hours pass, in which all that waits gets its turn and ends by itself. Raises RestlessError."""
    world.conn.execute(RESTORED.encode())
    starving = 0
    for _ in range(HOURS):
        wait_until_idle(world)
        if not world.all(LIVE):
            return
        # Not only in the moment between an end and the next admission.
        starving = starving + 1 if world.all(STARVING) else 0
        if starving > 3:
            raise RestlessError("GPUs are free and these wait: " + "; ".join(map(_told, world.all(STARVING)[:5])))
        _send_sweeps(world)
        pass_time(world, 3600 if starving == 0 else 100)


def rest(world: World) -> None:
    """Cancel and release all, and go on until everybody is at rest. Raises RestlessError."""
    deadline, cancelled_at = time.monotonic() + PATIENCE_S, 0.0
    while time.monotonic() < deadline:
        # What comes late is cancelled later: a request that a foreign client has hidden, say.
        if time.monotonic() - cancelled_at > 5:
            _cancel_all(world)
            cancelled_at = time.monotonic()
        with suppress(psycopg.OperationalError):
            wait_until_idle(world)
        if not world.all(RESTLESS):
            return
        _go_on(world)
    raise RestlessError("not at rest: " + "; ".join(map(_told, world.all(RESTLESS)[:8])))


def live_again(world: World) -> None:
    """Whatever has happened, all that there is can be had again: all GPUs, each disk, a seat. Raises RestlessError."""
    asked = [
        {"gpu_type": "h100", "gpu_count": 8, "total_nodes": 2},
        {"gpu_type": "t4", "gpu_count": 4},
        *({"gpu_type": "cpu-x86", "gpu_count": 0, **disk} for disk in world.all(USABLE)),
    ]
    ids = [
        create(world.conn, **{"user_id": PEOPLE[0], "github_user": PEOPLE[0], "duration_hours": 4, **wanted})
        for wanted in asked
    ]
    # Whoever was suspended stays so, whatever else is asked for.
    for action in ("reactivate", "assign"):
        send(world.conn, "cluster_assignments", {"action": action, "user_id": MEMBERS[0]})
    deadline = time.monotonic() + PATIENCE_S
    while (late := world.all(LATE, ids)) and time.monotonic() < deadline:
        wait_until_idle(world)
        if world.all(LATE, ids):
            pass_time(world, 20)
            _send_sweeps(world)
    if late:
        raise RestlessError("not had again: " + "; ".join(map(_told, late)))


def sweep(world: World, times: int = 2) -> None:
    """Each kind of periodic work, a while later each time: what the dead have made is found by it."""
    for _ in range(times):
        pass_time(world, 1000)
        _send_sweeps(world)
        wait_until_idle(world)


def pass_time(world: World, seconds: float) -> None:
    move_clock(world.conn, seconds)
    if world.box.aws_url:
        world.box.aws.put_clock_ahead(seconds)


def _cancel_all(world: World) -> None:
    for row in world.all(LIVE):
        send(world.conn, "gpu_reservations", {"action": "cancel", **row})
    for row in world.all(
        "select user_id from hopsworks.user_hopsworks_assignments where status not in ('released', 'failed')"
    ):
        send(world.conn, "cluster_assignments", {"action": "release", "reason": "the end", **row})


def _go_on(world: World) -> None:
    """To the next time that anybody waits for."""
    next_s: float | None = world.one(NEXT)
    if next_s is None or next_s > LOOK_AHEAD_S:
        # A row that has lost its ticket waits for a sweep.
        sweep(world, 1)
        return
    pass_time(world, min(max(next_s, 1.0) + 1, 700))
    _send_sweeps(world)


def _send_sweeps(world: World) -> None:
    for row in world.all("select queue, message from public.periodic"):
        send(world.conn, row["queue"], row["message"])


def _told(row: dict[str, Any]) -> str:
    return " ".join(str(value) for value in row.values())
