"""A login of `pgfleet serve`, and how it speaks for somebody whom it has proven."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pgfleet.schema.asking import Role
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.speaking import speaking_for
from worlds.database import Connection
from worlds.strangers import stranger_dsn


def serving_dsn(dsn: str) -> AbstractContextManager[str]:
    """The connection string of a login that is a member of pgfleet_serve."""
    return stranger_dsn(dsn, role="pgfleet_serve", queues=())


@contextmanager
def speaking_as(conn: Connection, role: Role = Role.DEVOPS, name: str = "ada") -> Iterator[Connection]:
    with speaking_for(conn, Principal(name, role, Proof.KEY)):
        yield conn
