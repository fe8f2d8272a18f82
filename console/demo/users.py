"""The demo's users: ten of them for eight seats on two Hopsworks clusters; one leaves, and one who waited comes in."""

from collections.abc import Iterator

import sqlalchemy as sa

from pgfleet.console.sandbox.box import Box
from pgfleet.producers import assignment as producer
from pgfleet.schema.assignment import Status
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import hopsworks_clusters, hopsworks_users, user_hopsworks_assignments

CLUSTERS = ("demo-east", "demo-west")
SEATS = 4
KEY = "sandbox"
NAMES = ("ada", "grace", "linus", "barbara", "donald", "frances", "edsger", "margaret", "alan", "radia")
LEAVES = "auth0|ada"
_c, _a = hopsworks_clusters.c, user_hopsworks_assignments.c


def arrive(conn: Connection, box: Box) -> None:
    """Clusters, users, and an assign for each of them."""
    clusters = [
        {"name": name, "api_url": box.hopsworks(name, api_key=KEY), "api_key": KEY, "max_users": SEATS}
        for name in CLUSTERS
    ]
    users = [{"id": f"auth0|{name}", "email": f"{name}@example.com", "name": name.title()} for name in NAMES]
    fetch(conn, sa.insert(hopsworks_clusters).values(clusters))
    fetch(conn, sa.insert(hopsworks_users).values(users))
    for user in users:
        producer.assign(user["id"], conn)


def leave(conn: Connection) -> bool:
    """The first user leaves as soon as all seats are taken; whether that is so."""
    seated = [row["user_id"] for row in _rows(conn) if row["status"] == Status.ACTIVE]
    if len(seated) < SEATS * len(CLUSTERS) or LEAVES not in seated:
        return False
    producer.release(LEAVES, "has seen enough", conn)
    return True


def settled(conn: Connection) -> bool:
    """All seats are taken again, and the row of who waits says why."""
    rows = _rows(conn)
    states = sorted(row["status"] for row in rows)
    explained = all(row["detail"].startswith("CLUSTER_FULL") for row in rows if row["status"] == Status.PENDING)
    return explained and states == sorted(["active"] * 8 + ["pending", "released"])


def wrong_users(conn: Connection) -> Iterator[str]:
    """What is not as it should be in the end."""
    for row in _rows(conn):
        if row["status"] == Status.ACTIVE and not row["hopsworks_username"]:
            yield f"{row['user_id']} is active without a username"
    if not settled(conn):
        yield ", ".join(f"{row['user_id']} is {row['status']}: {row['detail']}" for row in _rows(conn))


def wrong_seats(conn: Connection, box: Box) -> Iterator[str]:
    """Seats, rows and accounts that do not agree."""
    rows = _rows(conn)
    for cluster in fetch(conn, sa.select(_c.id, _c.name, _c.current_users)):
        here = {row["hopsworks_username"] for row in rows if row["hopsworks_cluster_id"] == cluster["id"]}
        server = box.hopsworks_state(cluster["name"])
        let_in = {user["username"] for user in server["users"] if user["status"] == 2}
        if cluster["current_users"] != len(here) or not here <= let_in or server["double_creations"]:
            yield f"{cluster['name']}: {cluster['current_users']} seats, {len(here)} rows, {len(let_in)} accounts"


def _rows(conn: Connection) -> list[Row]:
    return fetch(conn, sa.select(*_a).order_by(_a.user_id))
