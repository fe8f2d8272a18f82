"""Text that others have written, made fit for one line of a terminal, and for a command line."""

import shlex


def printable(text: object) -> str:
    """The text without what moves the cursor, changes colours or breaks the line; nothing for None."""
    plain = "" if text is None else str(text)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())


def typed(name: str, row_id: str) -> str:
    """How a person names a row on a command line: by its name, or by its id where the name can't be typed."""
    return shlex.quote(name if name and printable(name) == name and not name.startswith("-") else printable(row_id))
