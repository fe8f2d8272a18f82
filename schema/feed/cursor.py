"""A position in the feed, in words `<timeline>.<transaction>.<history id>`: what comes after it is not read yet."""

import re
from dataclasses import dataclass
from typing import Self

from pgfleet.schema.errors import FleetError

_WORDS = re.compile(r"(\d{1,10})\.(\d{1,20})\.(\d{1,19})", re.ASCII)
# One less than the type of the id holds: its successor is asked for.
_MOST = (2**31 - 1, 2**64 - 1, 2**63 - 2)


class BadCursor(FleetError):
    """This is no position in the feed."""


class CursorTooOld(FleetError):
    """Moves after this position are not kept any more, or it was never one of this database.

    Attributes:
        begin: where to begin anew.
    """

    def __init__(self, message: str, begin: "Cursor") -> None:
        super().__init__(f"{message}: begin anew at {begin}")
        self.begin = begin


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Positions are in the order in which events are read."""

    timeline: int
    xact_id: int
    history_id: int

    def __str__(self) -> str:
        return f"{self.timeline}.{self.xact_id}.{self.history_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """As `str` writes it.

        Raises:
            BadCursor: it is anything else. Nothing of it is quoted.
        """
        found = _WORDS.fullmatch(text)
        numbers = [int(number) for number in found.groups()] if found else []
        if not numbers or any(number > most for number, most in zip(numbers, _MOST, strict=True)):
            raise BadCursor("a position in the feed is <timeline>.<transaction>.<history id>, three whole numbers")
        return cls(*numbers)


BEGINNING = Cursor(0, 0, 0)
