"""Text that others have written, made fit for one line of a terminal, and for a command line."""

import re
import shlex
from datetime import UTC, datetime

DOTS = " ..."
# What PostgreSQL stores in no text: NUL, and halves of letters.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def printable(text: object) -> str:
    """The text without what moves the cursor, changes colours or breaks the line; nothing for None."""
    plain = "" if text is None else str(text)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())


def minute(at: datetime) -> str:
    """`2026-11-29 12:01 UTC`: with its zone, as whoever reads it may be anywhere."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def second(at: datetime) -> str:
    """`2026-11-29 12:01:07 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def plural(number: int, noun: str) -> str:
    """`1 dead letter`, `3 dead letters`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def typed(name: str, row_id: str) -> str:
    """How a person names a row on a command line: by its name, or by its id where the name can't be typed."""
    return shlex.quote(name if name and printable(name) == name and not name.startswith("-") else printable(row_id))


def harmless(text: str) -> str:
    """Several lines without what moves the cursor, turns the order of letters or changes colours.

    Their breaks and tabs stay, and the spaces that `tree` writes.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        letter if letter.isprintable() or letter in "\n\t\N{NO-BREAK SPACE}" else "\N{REPLACEMENT CHARACTER}"
        for letter in lines
    )


def cut(text: str, most: int) -> str:
    """At most so many letters, ending with a whole word and dots where there was more."""
    if len(text) <= most:
        return text
    head = text[: most - len(DOTS)]
    at = head.rfind(" ")
    # One word of half the length is no word: an image's digest, or base64.
    return (head[:at] if at > most // 2 else head).rstrip() + DOTS
