"""Every role, queue and action, one's own and another's: what the door lets in, and what a worker then does not do."""

import json
from importlib import import_module
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from pgfleet.schema.asking import Role, asked, refusal
from pgfleet.schema.kinds import contracts
from pgfleet.schema.nodes.keys import let
from pgfleet.schema.published import who_may
from worlds.clusters import add, create
from worlds.database import Connection

GROUPS = {
    Role.USER: "pgfleet_user",
    Role.DEVOPS: "pgfleet_api",
    Role.ADMIN: "pgfleet_api",
    Role.SERVICE: "pgfleet_sender",
    Role.NODE: "pgfleet_node",
}
# Whether a request about oneself is done, and one about another.
MAY = {
    "reservation": {
        Role.USER: (True, False),
        Role.DEVOPS: (True, True),
        Role.ADMIN: (True, True),
        Role.SERVICE: (True, True),
        Role.NODE: (False, False),
    },
    "assignment": {role: (role in {Role.ADMIN, Role.SERVICE},) * 2 for role in Role},
    "heartbeat": {role: (role == Role.NODE, False) for role in Role},
}
MAY["disk"] = MAY["event"] = MAY["reservation"]
FIELDS: dict[str, Any] = {
    "create_reservation": {"gpu_type": "cpu-x86", "gpu_count": 0, "github_user": "octocat"},
    "extend": {"extension_hours": 1},
    "extend_reservation": {"extension_hours": 1},
    "add_user": {"github_username": "octocat"},
    "create_disk": {"disk_name": "data", "size_gb": 20},
    "clone_disk": {"source_disk": "data", "target_disk": "copy"},
    "restore_disk": {"disk_name": "data", "snapshot_id": str(uuid4())},
    "release": {"reason": "left"},
    "send_again": {"after": "1.0.0"},
    "heartbeat": {"source": "cluster", "id": str(uuid4()), "sent_at": "2026-11-29T00:00:00Z", "status": "healthy"},
}
IDS = {
    "reservation": {"reservation_id": str(uuid4())},
    "disk": {"operation_id": str(uuid4()), "disk_name": "data"},
    "event": {"subscription_id": str(uuid4())},
}
CASES = [(role, name, action) for role in Role for name, each in contracts().items() for action in sorted(each.actions)]


def body_of(kind: str, action: str, whom: str) -> dict[str, Any]:
    if action == "drain":
        return {"action": "drain", "cluster_id": str(uuid4())}
    named = {contracts()[kind].whose: whom}
    if action == "cancellation":
        return {"type": "cancellation", **IDS[kind], **named}
    ids = {} if action == "clone_disk" else IDS.get(kind, {})
    if action == "clone_disk":
        ids = {"operation_id": str(uuid4())}
    return {"action": action, **ids, **named, **FIELDS.get(action, {})}


@pytest.fixture
def act_as(db: Connection) -> Any:
    """Makes the session one of a login in a role; returns who it is then, by what it has proven."""
    db.execute("select public.create_fleet_roles()")

    def act(role: Role) -> str:
        name = f"login_{uuid4().hex[:8]}"
        db.execute(
            sql.SQL("create role {} login in role {}").format(sql.Identifier(name), sql.Identifier(GROUPS[role]))
        )
        for contract in contracts().values():
            queue, numbers = (sql.Identifier("pgmq", f"q_{contract.queue}{end}") for end in ("", "_msg_id_seq"))
            db.execute(sql.SQL("grant insert, select (msg_id) on {} to {}").format(queue, sql.Identifier(name)))
            db.execute(sql.SQL("grant usage on sequence {} to {}").format(numbers, sql.Identifier(name)))
        db.execute(sql.SQL("grant usage on schema pgmq to {}").format(sql.Identifier(name)))
        node = node_of(db, name) if role == Role.NODE else None
        db.execute(sql.SQL("set local session authorization {}").format(sql.Identifier(name)))
        if GROUPS[role] == "pgfleet_api":
            claims = json.dumps({"sub": "ops", "pgfleet_role": role.value})
            db.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
            return "ops"
        return node or name

    return act


def node_of(db: Connection, login: str) -> str:
    """A node for which this login speaks."""
    node = add(db, create(db))
    let(db, node, login)
    return node


def why_not(db: Connection, kind: str, body: dict[str, Any]) -> str | None:
    """Why a message is not done: the door's words, or the worker's."""
    contract = contracts()[kind]
    with db.transaction() as inner:
        try:
            with db.transaction():
                number = db.execute("select pgmq.send(%s, %s)", (contract.queue, Jsonb(body))).fetchone()
        except psycopg.DatabaseError as error:
            return f"{error.sqlstate}: {error}"
        db.execute("reset session authorization")
        read = sql.SQL("select headers, message from {} where msg_id = %s").format(
            sql.Identifier("pgmq", f"q_{contract.queue}")
        )
        headers, message = db.execute(read, number or ()).fetchone() or (None, None)
        assert message == body
        assert asked(headers) is not None
        reason = refusal(asked(headers), contract_of(kind).read(message), contract.whose, contract.may)
        raise psycopg.Rollback(inner)
    return reason


def contract_of(kind: str) -> Any:
    return import_module(f"pgfleet.schema.{kind}")


@pytest.mark.parametrize(("role", "kind", "action"), CASES)
def test_a_role_asks_for_its_own_and_for_others_as_the_table_says(
    db: Connection, act_as: Any, role: Role, kind: str, action: str
) -> None:
    own = act_as(role)

    done = tuple(why_not(db, kind, body_of(kind, action, whom)) is None for whom in (own, "another"))

    assert done == MAY[kind][role]


@pytest.mark.parametrize("role", Role)
def test_no_role_sends_what_is_the_workers_own(db: Connection, act_as: Any, role: Role) -> None:
    internal = {
        (name, action)
        for name, contract in contracts().items()
        for action in {*getattr(contract_of(name), "ACTIONS", {"sweep": 0, "roll_up": 0})} - contract.actions
    }
    act_as(role)

    reasons = {why_not(db, name, {"action": action}) for name, action in internal}

    assert len(internal) > 20
    assert all(reason and reason.startswith("PF011") and "is not what is sent to" in reason for reason in reasons)


def test_the_table_that_people_read_is_what_the_contracts_say() -> None:
    assert who_may.PAGE.read_text("utf-8") == who_may.render()
