"""What tests of measuring and billing share: a clock that stands still, users with seats and reservations, a worker."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from pgfleet.schema.assignment import QUEUE, BillUser, MeasureCluster, read
from pgfleet.schema.messages import Message
from pgfleet.schema.settings import Settings
from pgfleet.workers.assignment.billing.days import step
from pgfleet.workers.assignment.billing.view import BillingView, load
from pgfleet.workers.assignment.tools import Tools
from pgfleet.workers.clients.kubernetes.usage import Usage
from pgfleet.workers.runtime.kind import Kind
from worlds.database import Connection
from worlds.fleet import Worker, new_id, send, settings_for, worker_on

ADA, BOB = "auth0|ada", "auth0|bob"


def set_clock(conn: Connection, moment: str) -> None:
    """The time (UTC) of every session; it stands still, so that hours are exact."""
    conn.execute(
        "create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe"
        f" as $$ select timestamptz '{moment}+00' $$"
    )


def add_user(conn: Connection, user: str = ADA, email: str | None = None) -> str:
    given = (user, email or f"{user.removeprefix('auth0|')}@example.com")
    conn.execute("insert into hopsworks.users (id, email) values (%s, %s)", given)
    return user


def add_cluster(conn: Connection, kubeconfig: str | None = None) -> str:
    cluster = new_id()
    conn.execute(
        "insert into hopsworks.hopsworks_clusters (id, name, api_url, api_key, kubeconfig)"
        " values (%s, 'one', 'http://127.0.0.1:9', 'key', %s)",
        (cluster, kubeconfig),
    )
    return cluster


def assign(conn: Connection, cluster: str, user: str = ADA, username: str = "ada10000") -> None:
    """Through all states to a seat, whether it had one before or not."""
    conn.execute(
        "insert into hopsworks.user_hopsworks_assignments (user_id) values (%s)"
        " on conflict (user_id) do update set status = 'pending'",
        (user,),
    )
    for change in (
        "status = 'creating_user', holds_seat = true, hopsworks_cluster_id = %(cluster)s",
        "status = 'active', hopsworks_username = %(username)s",
    ):
        conn.execute(
            f"update hopsworks.user_hopsworks_assignments set {change} where user_id = %(user)s",
            {"cluster": cluster, "username": username, "user": user},
        )


def release(conn: Connection, user: str = ADA) -> None:
    conn.execute("update hopsworks.user_hopsworks_assignments set status = 'released' where user_id = %s", (user,))


def reserve(conn: Connection, owner: str = ADA, gpu_type: str = "h100", gpus: int = 2, *, waits: bool = False) -> str:
    """A reservation that becomes active now, unless it waits."""
    row_id = new_id()
    conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)"
        " values (%s, %s, 'pending', %s, %s, 8, public.fleet_now())",
        (row_id, owner, gpu_type, gpus),
    )
    for status in () if waits else ("preparing", "active"):
        turn(conn, row_id, status)
    return row_id


def turn(conn: Connection, reservation_id: str, status: str) -> None:
    conn.execute("update public.reservations set status = %s where reservation_id = %s", (status, reservation_id))


def sample(conn: Connection, cluster: str, slot: str, used: str) -> None:
    """`used` is JSON by user, in hours."""
    conn.execute(
        "insert into hopsworks.usage_samples (id, hopsworks_cluster_id, slot, used) values (%s, %s, %s, %s)",
        (new_id(), cluster, f"{slot}+00", used),
    )


@contextmanager
def billing_worker(
    dsn: str, meanwhile: Sequence[Callable[[], object]] = (), timeout_s: float = 60.0, **settings: Any
) -> Iterator[Worker]:
    """A worker of measuring and billing alone, in the test's own thread.

    Each of `meanwhile` happens once, between what a step looked at and what it writes.
    """
    happens = list(meanwhile)

    def load_then_wait(conn: Any, messages: Sequence[Message], known: Settings) -> BillingView:
        view = load(conn, messages, known)
        if happens:
            happens.pop(0)()
        return view

    known = settings_for(dsn, **settings)
    tools = Tools(known, None, Usage(timeout_s))  # type: ignore[arg-type]  # nothing of Hopsworks is asked here
    kind: Kind[Message, BillingView, Tools] = Kind(
        name="billing",
        queue=QUEUE,
        read=read,
        key=lambda m: getattr(m, "user_id", "") if isinstance(m, BillUser) else getattr(m, "cluster_id", ""),
        load=load_then_wait,
        step=step,
        fail=lambda _message, _view, _reason: None,
        limit=lambda m, _view, settings: None if isinstance(m, MeasureCluster) else settings.attempts,
        tools=lambda _settings, _breakers: nullcontext(tools),
        batch=16,
    )
    with worker_on(kind, known) as worker:
        yield worker


def send_bill(conn: Connection, day: str, user: str = ADA) -> int:
    return send(conn, QUEUE, {"action": "bill_user", "user_id": user, "day": day})


def rows(conn: Connection, query: str, *given: Any) -> list[Any]:
    return conn.execute(query.encode(), given).fetchall()


def queued(conn: Connection) -> list[Any]:
    """The bodies that wait in the queue, in order."""
    return [row[0] for row in rows(conn, f"select message from pgmq.q_{QUEUE} order by msg_id")]


def dead(conn: Connection) -> list[Any]:
    return [row[0] for row in rows(conn, "select reason from public.dead_letters order by dead_letter_id")]
