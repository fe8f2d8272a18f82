"""An event: one move of one row, or a notice of one that stays where it is, as CloudEvents 1.0 have it."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pgfleet.schema.feed.cursor import Cursor

SPEC_VERSION = "1.0"


@dataclass(frozen=True)
class Event:
    """A move that was committed.

    Attributes:
        to_status: the state that the row is in since; or the notice (062), where it stays in `from_status`.
        position: in the feed; read on after it.
        owner: the user whose row it is; None for a row that is nobody's, or that is gone.
        row: the public columns of the row as they were when the event was read, which may be after later moves.
    """

    position: Cursor
    machine: str
    row_id: str
    from_status: str
    to_status: str
    reason: str
    at: datetime
    owner: str | None
    row: dict[str, Any]

    @property
    def type(self) -> str:
        return f"fleet.{self.machine}.{self.to_status}"

    def cloud_event(self) -> dict[str, Any]:
        """As it is sent. A restored server hands out numbers again: `source` tells its events from those of before."""
        return {
            "specversion": SPEC_VERSION,
            "id": str(self.position.history_id),
            "source": f"/pgfleet/{self.position.timeline}",
            "type": self.type,
            "subject": self.row_id,
            "time": self.at.isoformat(),
            "datacontenttype": "application/json",
            "data": {
                "machine": self.machine,
                "from": self.from_status,
                "to": self.to_status,
                "reason": self.reason,
                "row": self.row,
            },
        }

    def json(self) -> str:
        """On one line; written once, however many are told of it."""
        return self._line

    @cached_property
    def _line(self) -> str:
        return json.dumps(self.cloud_event(), separators=(",", ":"), ensure_ascii=False)
