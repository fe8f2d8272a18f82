"""The types of events that there are: the states that rows of machines move to, and the notices of them (062)."""

import re

from pgfleet.schema.database.things import wanted

_MOVE = re.compile(r"(?P<machine>\w+): .* -> (?P<to>\w+)")
_NOTICE = re.compile(r"(?P<machine>\w+): (?P<to>\w+)")


def known_types() -> list[str]:
    """As in `fleet.reservation.active`, in their order; those of this version's own machines."""
    patterns = {"move": _MOVE, "notice": _NOTICE}
    found = (patterns[kind].fullmatch(name) for kind, name in wanted() if kind in patterns)
    return sorted({f"fleet.{match['machine']}.{match['to']}" for match in found if match})
