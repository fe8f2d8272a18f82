"""`pgfleet doctor`: what is wrong with the database, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

import psycopg
import typer
from rich.text import Text

from pgfleet.console.commands.database import database_dsn
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import EXIT_FAILED, out, print_json
from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Finding, Severity
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

# On a terminal that is narrower, lines go on near its edge.
WIDE, NARROW = 100, 4
UNWRAPPED = 1_000_000
STYLES = {Severity.OK: "green", Severity.SKIPPED: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}

# It counts whole tables.
LONGEST_S = 600.0


@example("pgfleet doctor --json")
def doctor(*, as_json: AsJson = False) -> None:
    """Examine the database: each finding with what to do. Reads only.

    Ends with 0 where there is no error (warnings may be), 1 where there is one, 2 where it can't be examined.

    With --json each finding has a code, which stays the same from version to version.
    """
    with _database() as conn:
        found = examine(conn)
    if as_json:
        print_json([_as_json(finding) for finding in found])
    else:
        for finding in found:
            print_finding(finding)
    if any(finding.severity is Severity.ERROR for finding in found):
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _database() -> Iterator[Connection]:
    """The direct connection, whatever the database lacks: what is missing is a finding.

    Raises:
        Unreachable: it can't be reached, or was lost.
    """
    given: dict[str, Any] = {"application_name": "pgfleet doctor", "longest_s": LONGEST_S}
    with connect(database_dsn(read_settings()), autocommit=True, **given) as conn:
        try:
            yield conn
        except psycopg.OperationalError as error:
            raise Unreachable(f"The database stopped answering: {redact(str(error)).strip()}\nTry again.") from None


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {
        "code": finding.code,
        "check": finding.check,
        "severity": finding.severity.value,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def print_finding(finding: Finding) -> None:
    """A pipe gets a line for each; on a terminal lines end between words, one under the other."""
    head = Text.assemble((f"{finding.severity:<8}", STYLES[finding.severity]), f" {finding.check:<13} ")
    wide = out().width if out().is_terminal else UNWRAPPED
    indent = " " * (NARROW if wide < WIDE else len(head))
    first, *others = _lines(" " * len(head) + finding.text, wide, indent)
    out().print(Text.assemble(head, first.removeprefix(" " * len(head))), soft_wrap=True)
    if finding.remedy is not None:
        others += _lines(f"{indent}do: {finding.remedy}", wide, indent)
    for line in others:
        out().print(Text(line), soft_wrap=True)


def _lines(text: str, wide: int, indent: str) -> list[str]:
    """Words are never cut, so that names and commands can be copied."""
    return wrap(text, wide, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
