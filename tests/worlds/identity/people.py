"""People for tests: accounts, principals, connections of the API's login that speak for them, and the audit."""

from collections.abc import Iterator
from contextlib import contextmanager

from pgfleet.schema.asking import Role
from pgfleet.schema.identity import accounts
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.speaking import Origin, speaking_for
from worlds.database import Connection
from worlds.strangers import stranger_on

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts in tests
ORIGIN = Origin("192.0.2.7", "tests/1.0")


@contextmanager
def member_of(dsn: str, role: str) -> Iterator[Connection]:
    with stranger_on(dsn, role=role, queues=()) as conn:
        yield conn


def as_person(username: str, role: Role = Role.USER, account_id: int | None = None) -> Principal:
    return Principal(username, role, Proof.KEY, account_id=account_id)


ADMIN = as_person("root", Role.ADMIN)


@contextmanager
def asking(api: Connection, who: Principal) -> Iterator[Connection]:
    with speaking_for(api, who, ORIGIN):
        yield api


def person(owner: Connection, name: str, role: str = "USER", password_hash: str | None = None) -> Principal:
    """An account with this name, as the API knows it."""
    number = accounts.add(owner, f"{name}@example.org", username=name, role=role, password_hash=password_hash)
    return as_person(name, Role(role), number)


def audited(owner: Connection) -> list[tuple[str, str, str, str, str]]:
    """Who did what to what, in the order of the audit."""
    return owner.execute(
        "select user_email, user_role, action, resource_id, status from autoscaler.audit_logs order by id"
    ).fetchall()


def forget_audit(owner: Connection) -> None:
    owner.execute("delete from autoscaler.audit_logs")
