"""The login of `pgfleet serve`, and whom it speaks for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pgfleet.schema.asking import Role
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.speaking import speaking_for
from worlds.database import Connection
from worlds.strangers import stranger_dsn, stranger_on

ADA, BOB = (Principal(name, Role.USER, Proof.KEY) for name in ("ada", "bob"))
OPS, BOSS = Principal("ops", Role.DEVOPS, Proof.OIDC), Principal("boss", Role.ADMIN, Proof.OIDC)
NODE = Principal("ada", Role.NODE, Proof.NODE_KEY)


@contextmanager
def serving_on(dsn: str) -> Iterator[Connection]:
    """A session of a member of pgfleet_serve, with no right beside that role's."""
    with stranger_on(dsn, role="pgfleet_serve", queues=()) as conn:
        yield conn


def serving_dsn(dsn: str) -> AbstractContextManager[str]:
    """The connection string of such a login."""
    return stranger_dsn(dsn, role="pgfleet_serve", queues=())


@contextmanager
def speaking_as(conn: Connection, role: Role = Role.DEVOPS, name: str = "ada") -> Iterator[Connection]:
    """A transaction in which it speaks for somebody."""
    with speaking_for(conn, Principal(name, role, Proof.KEY)):
        yield conn
