"""The documents as files of the package, and the tables of the page about the API; `make generated` runs it.

A test compares them with what the code says.
"""

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.openapi.asyncapi import document as of_messages
from pgfleet.producers.http.openapi.document import document
from pgfleet.producers.http.permissions import OPEN, PERMISSIONS
from pgfleet.producers.http.problem import SLUGS
from pgfleet.producers.http.serving import endpoints
from pgfleet.schema.asking import Role, Whose

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "README.md"
PEOPLE = (Role.USER, Role.DEVOPS, Role.ADMIN, Role.NODE)
WORDS = {Whose.NOBODYS: "", Whose.OWN: "own", Whose.ANY: "any"}


def documents() -> dict[str, dict[str, Any]]:
    """By the names of their files."""
    return {
        "openapi.json": document(endpoints(), version("pgfleet")),
        "asyncapi.json": of_messages(version("pgfleet")),
    }


def text_of(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def table(listed: Iterable[Endpoint]) -> str:
    """The endpoints in the order of their addresses: what each does, and whose rows who may ask about."""
    lines = ["| | does | USER | DEVOPS | ADMIN | NODE |", "|---|---|---|---|---|---|"]
    for each in sorted(listed, key=lambda each: (each.path, each.method)):
        may = PERMISSIONS.get(each.permission, {})
        words = ["anybody"] * 4 if each.permission in OPEN else [WORDS[may[role]] for role in PEOPLE]
        lines.append(f"| `{each.method} {each.path}` | {each.does} | {' | '.join(words)} |")
    return "\n".join(lines)


def slugs() -> str:
    """What each `type` of a problem means."""
    return "\n".join(
        ["| `type` ends with | means |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in SLUGS.items())]
    )


def page(text: str) -> str:
    """The page with its generated parts as they are now."""
    return _between(_between(text, "endpoints", table(endpoints())), "problems", slugs())


def _between(text: str, name: str, made: str) -> str:
    """The text with what is between two comments made anew."""
    begin, end = f"<!-- {name}: make generated -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{made}\n{end}{after}"


def main() -> None:
    for name, content in documents().items():
        (FOLDER / name).write_text(text_of(content), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
