"""The clock, operators who write by hand, and foreign clients of PGMQ."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hunt.known import Act, Known
from hunt.world import World
from pgfleet.schema.brake import pauses
from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.replay import letters
from worlds.clusters import promote
from worlds.fleet import move_clock

MALFORMED: list[Any] = [None, 1, "text", [], {}, {"action": "no such"}, {"action": "advance"}, {"action": ["sweep"]}]
# What an operator may write by hand: legal moves and columns.
BY_HAND = {
    "cancels reservations": "update public.reservations set status = 'cancelled' where reservation_id in ("
    " select reservation_id from public.reservations where status in ('queued', 'active') limit 1)",
    "closes a type": "update public.gpu_types set is_active = not is_active where gpu_type = 't4'",
    "takes GPUs out": "update public.gpu_types set total_cluster_gpus = 24 - total_cluster_gpus"
    " where gpu_type = 'h100'",
    "puts a cluster into maintenance": "update hopsworks.hopsworks_clusters set status = 'maintenance'"
    " where name = 'one' and status = 'active'",
    "puts it back": "update hopsworks.hopsworks_clusters set status = 'active'"
    " where name = 'one' and status = 'maintenance'",
    "changes seats": "update hopsworks.hopsworks_clusters set max_users = 5 - max_users where name = 'two'"
    " and current_users <= 5 - max_users",
    "touches all": "update public.reservations set name = name",
    "releases one": "update hopsworks.user_hopsworks_assignments set status = 'released' where user_id in ("
    " select user_id from hopsworks.user_hopsworks_assignments where status = 'active' limit 1)",
    "releases by force": "select public.release_by_force(reservation_id) from public.reservations"
    " where status in ('expired', 'cancelled', 'failed') and reservation_ended is null limit 1",
    "keeps house": "select public.keep_house()",
    "vacuums": "vacuum (analyze) pgmq.q_gpu_reservations",
}
FOREIGN = {
    "reads": "select pgmq.read('{queue}', 30, 2)",
    "reads for long": "select pgmq.read('{queue}', 7200, 3)",
    "archives": "select pgmq.archive('{queue}', (select msg_id from pgmq.q_{queue} order by msg_id limit 1))",
    "deletes": "select pgmq.delete('{queue}', (select msg_id from pgmq.q_{queue} order by vt limit 1))",
    "delays": "select pgmq.set_vt('{queue}', (select msg_id from pgmq.q_{queue} order by vt limit 1), 60)",
    "pops": "select pgmq.pop('{queue}')",
}


@contextmanager
def refused() -> Iterator[None]:
    """What the database itself refuses is no fault: a move, a value, or a lock that is not had in time."""
    try:
        yield
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith(("PF", "23", "55P03")):
            raise


def _pass(world: World, seconds: float) -> None:
    move_clock(world.conn, seconds)
    if world.box.aws_url:
        world.box.aws.put_clock_ahead(seconds)


def _kind(known: Known) -> dict[str, Any]:
    return {"what": known.dice.choice([*contracts(), pauses.DELETES])}


def _pause(world: World, what: str) -> None:
    pauses.pause(world.conn, what, "ops", "hunt")


def _resume(world: World) -> None:
    for row in pauses.paused(world.conn):
        pauses.resume(world.conn, row["name"] if row["name"] != "deletions" else pauses.DELETES)


def _replay(world: World) -> None:
    for number in letters.open_numbers(world.conn, letters.Filters(verdict="failure"))[:3]:
        with suppress(Refusal):
            letters.replay(world.conn, number, "ops")


def _by_hand(world: World, what: str) -> None:
    with refused():
        world.conn.execute(BY_HAND[what].encode())


def _promote(world: World, number: int) -> None:
    with refused():
        promote(world.conn, world.cluster_nodes[number])


def _malformed(known: Known) -> dict[str, Any]:
    return {"queue": known.dice.choice(list(queues())), "body": known.dice.choice(MALFORMED)}


def _send_malformed(world: World, queue: str, body: Any) -> None:
    ((msg_id,),) = world.foreign("select pgmq.send(%s, %s::jsonb)", queue, None if body is None else Jsonb(body))
    world.malformed.append((queue, msg_id))


def _foreign(known: Known) -> dict[str, Any]:
    return {"queue": known.dice.choice(list(queues())), "verb": known.dice.choice(list(FOREIGN))}


def _do_foreign(world: World, queue: str, verb: str) -> None:
    world.foreign(FOREIGN[verb].format(queue=queue))


ACTS = {
    "pass": Act(
        6,
        lambda known: {"seconds": known.dice.choice((5, 31, 61, 91, 300, 700, 3600, 5 * 3600))},
        _pass,
        "{seconds} s pass",
    ),
    "pause_kind": Act(0.7, _kind, _pause, "An operator pauses {what}"),
    "resume_kinds": Act(1.5, lambda _: {}, _resume, "An operator lets all go on"),
    "replay": Act(1, lambda _: {}, _replay, "An operator replays dead letters"),
    "by_hand": Act(
        3, lambda known: {"what": known.dice.choice(list(BY_HAND))}, _by_hand, "An operator writes by hand: {what}"
    ),
    "promote": Act(
        1, lambda known: {"number": known.dice.randrange(3)}, _promote, "Node {number} of a cluster is promoted"
    ),
    "malformed": Act(2, _malformed, _send_malformed, "Somebody sends {body!r} to {queue}"),
    "foreign": Act(3, _foreign, _do_foreign, "A foreign client {verb} of {queue}"),
}
