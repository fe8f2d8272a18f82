"""Keys of nodes: an operator makes, rotates and revokes them; of each the database knows the hash."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.schema.asking import Role
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.nodes.proofs import hash_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named

SQL = named(__package__)
PREFIX = 8
KEY_BYTES = 48
# As text that is safe in a URL.
KEY_LENGTH = 64
LONGEST_KEY = 512


def add_node(conn: Connection, given: Mapping[str, Any], login: str | None = None) -> tuple[int, str]:
    """A new node of the autoscaler and its key, shown to nobody else and kept nowhere; its number, and the key.

    Given are its name and region, perhaps its ip_address and description.
    """
    key = secrets.token_urlsafe(KEY_BYTES)
    with conn.transaction():
        (row,) = ask(conn, SQL["add_node"], given=Jsonb(given), key_hash=hash_of(key), key_prefix=key[:PREFIX])
        number = int(row["result"]["id"])
        if login is not None:
            let(conn, str(number), login)
    return number, key


def rotate(conn: Connection, node: str) -> str:
    """A new key for a node; those that it had stay valid for an hour. PF008 where there is no such node."""
    key = secrets.token_urlsafe(KEY_BYTES)
    ask(conn, SQL["rotate"], node=node, key_hash=hash_of(key), key_prefix=key[:PREFIX])
    return key


def principal_of(conn: Connection, key: str) -> Principal | None:
    """The node whose key this is and is valid now, by its number or, of a cluster, its id. None for any other key."""
    if not 0 < len(key) <= LONGEST_KEY:
        return None
    (row,) = ask(conn, SQL["principal_of"], key_hash=hash_of(key))
    node = row["result"]
    return None if node is None else Principal(str(node), Role.NODE, Proof.NODE_KEY)


def revoke(conn: Connection, node: str) -> int:
    """End all keys of a node now; how many were valid."""
    (row,) = ask(conn, SQL["revoke"], node=node)
    return int(row["result"])


def let(conn: Connection, node: str, login: str) -> str:
    """Let a login speak for a node, and for no other; the queue in which it is answered."""
    (row,) = ask(conn, SQL["let"], node=node, login=login)
    return str(row["result"])


def remove(conn: Connection, node: str) -> bool:
    """Delete a node of the autoscaler, with its keys; its history stays. Whether it was there.

    A node of a cluster leaves with `clusters.update_node_status` or `decommission_cluster`.
    """
    (row,) = ask(conn, SQL["remove"], node=node)
    return bool(row["result"])


def valid_keys(conn: Connection, nodes: Iterable[str]) -> tuple[dict[str, list[str]], datetime | None]:
    """The hashes of the keys that are valid now, by node; and what time it is there, unless there is none."""
    found = conn.execute(SQL["valid_keys"], {"nodes": list(nodes)}).fetchall()
    keys = defaultdict(list)
    for node, key_hash, _ in found:
        keys[node].append(key_hash)
    return keys, found[0][2] if found else None
