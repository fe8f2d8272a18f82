"""Configurations of the autoscaler's nodes: checked as YAML, kept with their hash, one active, any of before again.

What they say of the size of pools is read here and set by the database (187):

    pools:
      - instance_pool_id: ocid1.instancepool...   # or oracle_pool_id
        scaling_limits: {min: 1, max: 10}         # or one of both
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.schema.errors import FleetError
from pgfleet.schema.nearest import did_you_mean
from pgfleet.schema.nodes.keys import SQL
from pgfleet.schema.nodes.yaml_text import BadYaml, decoded, mapping_of
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask
from pgfleet.schema.rows.row import Row

Limits = dict[str, dict[str, int]]
NAMES = ("instance_pool_id", "oracle_pool_id")
LIMITS = ("min", "max")
NAME_LIMIT = 255
POOLS_LIMIT = 1000
MOST_INSTANCES = 1_000_000


class BadConfiguration(FleetError):
    """A text that can't be a node's configuration; the message says what is wrong with it, and quotes none of it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A text that was checked, the SHA-256 of it, and the limits of pools in it."""

    text: str
    hash: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Kept:
    """A configuration that is active now; `changed` unless it was already."""

    id: int
    hash: str
    changed: bool


def read(given: bytes | str) -> Configuration:
    """The configuration that a file or a request holds.

    Raises:
        BadConfiguration: it can't be used.
    """
    try:
        text = decoded(given)
        said = mapping_of(text)
    except BadYaml as error:
        raise BadConfiguration(f"yaml_config: {error}") from None
    return Configuration(text, hashlib.sha256(text.encode()).hexdigest(), _limits(said.get("pools")))


def add(conn: Connection, node: int, configuration: Configuration) -> Kept:
    """Keep a new configuration of a node and make it the active one. PF008 where there is no such node."""
    (row,) = ask(conn, SQL["add_configuration"], node=node, text=configuration.text, limits=Jsonb(configuration.limits))
    return Kept(row["id"], row["config_hash"], row["changed"])


def activate(conn: Connection, node: int, configuration: int) -> str:
    """Make one that the node had before the active one again; its hash. PF008 where it had none of that id."""
    (row,) = ask(conn, SQL["activate"], node=node, configuration=configuration)
    return str(row["result"])


def listing(conn: Connection, node: int, *, before: int | None = None, most: int = 50) -> list[Row]:
    """A node's configurations without their text, the newest first; those of lower ids than `before`."""
    return ask(conn, SQL["configurations"], node=node, before=before, most=most)


def text_of(conn: Connection, node: int, configuration: int | None = None) -> str | None:
    """The text of one, or of the active one; None where there is none."""
    (row,) = ask(conn, SQL["configuration_text"], node=node, configuration=configuration)
    return None if row["result"] is None else str(row["result"])


def _limits(pools: Any) -> Limits:
    if pools is None:
        return {}
    if not isinstance(pools, list):
        raise BadConfiguration("pools: must be a list")
    found: Limits = {}
    for place, pool in enumerate(pools):
        if not isinstance(pool, dict):
            raise BadConfiguration(f"pools[{place}]: must be a mapping")
        if pool.get("scaling_limits") is None:
            continue
        name = _name(pool, f"pools[{place}]")
        if name in found:
            raise BadConfiguration(f"pools[{place}]: has limits of a pool that is there before")
        found[name] = _limits_of(pool["scaling_limits"], f"pools[{place}].scaling_limits")
    if len(found) > POOLS_LIMIT:
        raise BadConfiguration(f"pools: at most {POOLS_LIMIT} have limits")
    return found


def _name(pool: dict[Any, Any], place: str) -> str:
    name = next((pool[key] for key in NAMES if pool.get(key) is not None), None)
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise BadConfiguration(f"{place}: has scaling_limits, and no {NAMES[0]} that says whose they are")
    return name


def _limits_of(said: Any, place: str) -> dict[str, int]:
    if not isinstance(said, dict) or not said:
        raise BadConfiguration(f"{place}: must be a mapping of min and max")
    for key, value in said.items():
        if key not in LIMITS:
            raise BadConfiguration(f"{place}: a key is not known; {did_you_mean(str(key)[:60], LIMITS)}")
        if type(value) is not int or not 0 <= value <= MOST_INSTANCES:
            raise BadConfiguration(f"{place}.{key}: must be a whole number from 0 to {MOST_INSTANCES:,}")
    if said.get("min", 0) > said.get("max", MOST_INSTANCES):
        raise BadConfiguration(f"{place}: min must not be above max")
    return dict(said)
