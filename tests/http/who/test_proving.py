"""Whose a key is: found among nodes and people, and first where keys of its length are."""

from typing import Any

import pytest

from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.proving import Prover
from pgfleet.schema.asking import Role
from pgfleet.schema.identity import keys as peoples
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.nodes import keys as nodes
from worlds.database import Connection

ADA = Principal("ada", Role.USER, Proof.KEY)
OF_NODE = Principal("17", Role.NODE, Proof.NODE_KEY)


def looked(conn: Connection, key: str, *, person: Principal | None, node: Principal | None) -> tuple[Any, list[str]]:
    """Who it is, and where was looked, in order."""
    asked: list[str] = []

    def among(name: str, found: Principal | None) -> Any:
        def look(_: Connection, __: str) -> Principal | None:
            asked.append(name)
            return found

        return look

    prover = Prover(among("people", person), among("nodes", node), None, lambda *_: ADA)
    try:
        return prover.prove(conn, key), asked
    except NotProvenError:
        return None, asked


@pytest.mark.parametrize("length", [20, 63, 64, 86])
def test_a_key_of_any_length_may_be_of_either(conn: Connection, length: int) -> None:
    """Keys that were brought along from elsewhere are as long as they were there."""
    key = "k" * length

    assert looked(conn, key, person=ADA, node=None)[0] == ADA
    assert looked(conn, key, person=None, node=OF_NODE)[0] == OF_NODE
    assert looked(conn, key, person=None, node=None)[0] is None


def test_the_key_of_a_node_costs_one_look(conn: Connection) -> None:
    """As does that of a person: each is looked for where keys of its length are made."""
    with conn.transaction(force_rollback=True):
        _, of_node = nodes.add_node(conn, {"name": "n", "region": "eu"})

    assert looked(conn, of_node, person=None, node=OF_NODE)[1] == ["nodes"]
    assert looked(conn, peoples.draw().key, person=ADA, node=None)[1] == ["people"]
