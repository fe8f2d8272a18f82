"""Rows of answers as pictures take them: times as times, and what the API does not show as unknown."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pgfleet.console.remote.answers import Answered
from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads.place import Place
from pgfleet.schema.rows.row import Row

# A time as the API writes it.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SHORT = 8
UNKNOWN = {
    "is_stuck": False,
    "forced_at": None,
    "forced_by": None,
    "held_since": None,
    "disk_status": None,
    "pod_node": None,
    "node_ip": None,
}


def timed(value: Any) -> Any:
    """The same with times as times."""
    if isinstance(value, Mapping):
        return Answered({name: timed(each) for name, each in value.items()})
    if isinstance(value, list):
        return [timed(each) for each in value]
    if isinstance(value, str) and TIME.fullmatch(value):
        return datetime.fromisoformat(value).astimezone(UTC)
    return value


def reservation(answer: Mapping[str, Any]) -> Row:
    """A reservation as pictures and sentences take it."""
    return Row({**UNKNOWN, "short_id": str(answer["reservation_id"])[:SHORT], **timed(answer)})


def place(row: Mapping[str, Any]) -> Place | None:
    """Where it stands; None of one that does not wait."""
    if row.get("position") is None:
        return None
    return Place(row["reason_code"], row["ahead"], row["eta"], is_promised=bool(row["eta_is_promised"]))


def only(known: list[str], given: str, what: str) -> str:
    """The one id that begins so.

    Raises:
        Refusal: none does, or several do.
    """
    wanted = given.strip().lower()
    found = [each for each in known if wanted and each.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    raise Refusal(f"Several ids begin so; there is no one {what}." if found else f"There is no {what}.")
