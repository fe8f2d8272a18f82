"""`pgfleet nodes add`, `rotate-key`, `revoke-keys`, `let` and `remove`: how nodes prove who they are. For operators.

A key is shown once and kept nowhere: what goes to the database, and into its logs, is its hash.
"""

from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import Refusal
from pgfleet.schema.nodes import keys
from pgfleet.schema.printable import plural, printable

Node = Annotated[str, typer.Argument(metavar="NODE", help="Its number, or the id of a cluster's node.")]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="A login that is a member of pgfleet_node.")]
ONCE = "This is its key. It is shown once: give it to the node as PGFLEET_NODE_KEY."


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    *,
    region: Annotated[str, typer.Option(help="Where it is.")],
    login: Annotated[str | None, typer.Option(help="Its login at the database, a member of pgfleet_node.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a node of the autoscaler, and its key, which is shown once."""
    with database() as conn:
        number, key = keys.add_node(conn, {"name": name, "region": region}, login)
    _show(str(number), key, f"node {number}, {name}", as_json=as_json)


def rotate_key(node: Node, *, as_json: AsJson = False) -> None:
    """Make a new key for a node, which is shown once. The one that it had stays valid for an hour."""
    with database() as conn:
        key = keys.rotate(conn, node)
    _show(node, key, f"node {node}", as_json=as_json)


def revoke_keys(node: Node, *, as_json: AsJson = False) -> None:
    """End all keys of a node now."""
    with database() as conn:
        revoked = keys.revoke(conn, node)
    if as_json:
        print_json({"node": node, "revoked": revoked})
    else:
        out().print(f"node {printable(node)}: {plural(revoked, 'key')} revoked")


def let(node: Node, login: Login, *, as_json: AsJson = False) -> None:
    """Let a login speak for a node, and for no other, and read what it is answered."""
    with database() as conn:
        queue = keys.let(conn, node, login)
    if as_json:
        print_json({"node": node, "login": login, "queue": queue})
    else:
        out().print(f"{printable(login)} speaks for node {printable(node)}; it is answered in {queue}")


def remove(node: Node, *, as_json: AsJson = False) -> None:
    """Delete a node of the autoscaler, with its keys, its login's rights and its answers. Its history stays.

    No heartbeat brings it back. A node of a cluster leaves with clusters.update_node_status.
    """
    with database() as conn:
        if not keys.remove(conn, node):
            raise Refusal(f"There is no node {printable(node)} of the autoscaler.")
    if as_json:
        print_json({"node": node, "result": "deleted"})
    else:
        out().print(f"node {printable(node)} deleted")


def _show(node: str, key: str, what: str, *, as_json: bool) -> None:
    """The key alone on stdout, so that it can go into a file unseen."""
    if as_json:
        print_json({"node": node, "key": key})
        return
    err().print(f"{printable(what)}\n{ONCE}")
    out().print(key, soft_wrap=True)
