"""The types of events that there are: the states that rows of machines move to, and the notices of them (062)."""

import re
from collections.abc import Collection, Iterable

from pgfleet.schema.database.things import wanted
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.nearest import did_you_mean
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named

SQL = named(__package__)

_MOVE = re.compile(r"(?P<machine>\w+): .* -> (?P<to>\w+)")
_NOTICE = re.compile(r"(?P<machine>\w+): (?P<to>\w+)")


def known_types() -> list[str]:
    """As in `fleet.reservation.active`, in their order; those of this version's own machines."""
    patterns = {"move": _MOVE, "notice": _NOTICE}
    found = (patterns[kind].fullmatch(name) for kind, name in wanted() if kind in patterns)
    return sorted({f"fleet.{match['machine']}.{match['to']}" for match in found if match})


def types_in(conn: Connection) -> list[tuple[str, str]]:
    """Each machine of a database with each state that its rows move to, and each notice of them."""
    return conn.execute(SQL["types"]).fetchall()


def strange(
    types: Collection[tuple[str, str]],
    machines: Iterable[str] | None,
    states: Iterable[str] | None,
    names: tuple[str, str] = ("machines", "states"),
) -> str | None:
    """Which word is no machine's, or no state of those that are wanted: whoever waits for it waits for ever.

    `names` are those of the fields, for the answer.
    """
    known = {machine for machine, _ in types}
    wanted_machines = set(machines or known)
    reached = {state for machine, state in types if machine in wanted_machines}
    for name, words, there in zip(names, (machines, states), (known, reached), strict=True):
        word = next((word for word in words or () if word not in there), None)
        if word is not None:
            return f"{name}: {word} is not known; {did_you_mean(word, sorted(there))}"
    return None


def refuse_strange(
    conn: Connection,
    machines: Iterable[str] | None,
    states: Iterable[str] | None,
    names: tuple[str, str] = ("machines", "states"),
) -> None:
    """Raises: BadMessage: a word is no machine's, or no state of those that are wanted."""
    if (machines or states) and (told := strange(types_in(conn), machines, states, names)):
        raise BadMessage(told)
