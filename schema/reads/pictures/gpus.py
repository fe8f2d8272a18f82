"""GPUs as pages draw them: nodes with their cells, who holds them, and what ends next."""

from collections.abc import Collection

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
# More nodes than that nobody looks at one by one.
MOST_NODES, MOST_HOLDERS = 500, 2_000


def gpu_nodes(conn: Connection) -> list[Row]:
    """The nodes that have GPUs, by type and name: gpus, gpus_used, gpus_free, problem."""
    return ask(conn, SQL["gpu_nodes"], most=MOST_NODES)


def holders(conn: Connection, nodes: Collection[str], username: str | None) -> list[Row]:
    """Who holds GPUs on which of these nodes until when; of one user, or of everybody."""
    return ask(conn, SQL["holders"], nodes=list(nodes), username=username, most=MOST_HOLDERS)


def ending(conn: Connection, username: str | None, most: int = 8) -> list[Row]:
    """What runs and ends next; of one user, or of everybody."""
    return ask(conn, SQL["ending"], username=username, most=most)


def stray_pods(conn: Connection, *, gone_too: bool = False) -> list[Row]:
    """Pods in quarantine: no row accounts for them, none is deleted, and their GPUs are taken off the free ones."""
    return ask(conn, SQL["stray_pods"], gone_too=gone_too, most=MOST_NODES)
