"""For `pgfleet up`: two Hopsworks clusters in the sandbox, and some users to assign to them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.tables.hopsworks import hopsworks_clusters, hopsworks_users, user_hopsworks_assignments

CLUSTERS = ("sandbox-east", "sandbox-west")
SEATS = 3
# The sandbox's own key.
KEY = "sandbox"
USERS = {"auth0|ada": None, "auth0|grace": None, "auth0|linus": None, "auth0|bob": "auth0|ada"}
_c, _u, _a = hopsworks_clusters.c, hopsworks_users.c, user_hopsworks_assignments.c


def add_example_users(conn: Connection, box: Box) -> None:
    """Point both clusters at this sandbox, make the accounts of their active users, add users that are missing."""
    for name in CLUSTERS:
        url = box.hopsworks(name, api_key=KEY)
        known = fetch(conn, sa.update(hopsworks_clusters).where(_c.name == name).values(api_url=url).returning(_c.id))
        if not known:
            values = {"name": name, "api_url": url, "api_key": KEY, "max_users": SEATS}
            fetch(conn, sa.insert(hopsworks_clusters).values(values))
        _put_back(conn, box, name)
    people = [_user(user_id, owner) for user_id, owner in USERS.items()]
    fetch(conn, insert(hopsworks_users).values(people).on_conflict_do_nothing())


def _user(user_id: str, owner: str | None) -> dict[str, str | None]:
    local = user_id.rpartition("|")[2]
    return {"id": user_id, "email": f"{local}@example.com", "name": local.title(), "account_owner_id": owner}


def _put_back(conn: Connection, box: Box, cluster: str) -> None:
    """Make the accounts of active users again: a new sandbox has none."""
    accounts = (
        sa.select(_u.email, _a.hopsworks_username, _a.suspended_at)
        .join_from(user_hopsworks_assignments, hopsworks_users, _u.id == _a.user_id)
        .join(hopsworks_clusters, _c.id == _a.hopsworks_cluster_id)
        .where(_c.name == cluster, _a.status == "active")
    )
    for row in fetch(conn, accounts):
        status = 2 if row["suspended_at"] is None else 3
        box.hopsworks_put(
            cluster,
            row["email"],
            username=row["hopsworks_username"],
            accountType="REMOTE_ACCOUNT_TYPE",
            status=status,
        )
