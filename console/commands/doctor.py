"""`pgfleet doctor`: what is wrong with the database, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import psycopg
import typer
from rich.text import Text

from pgfleet.console.commands.database import database_dsn
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import EXIT_FAILED, out, print_json
from pgfleet.schema.database.dsn import Unreachable, connect, redact
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Finding, Severity
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings

STYLES = {Severity.OK: "green", Severity.SKIPPED: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}


@example("pgfleet doctor --json")
def doctor(*, as_json: AsJson = False) -> None:
    """Examine the database: each finding with what to do. Reads only; ends with 1 if there is an error."""
    with _database() as conn:
        found = examine(conn)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            _print_finding(finding)
    if any(finding.severity is Severity.ERROR for finding in found):
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _database() -> Iterator[Connection]:
    """The direct connection, whatever the database lacks: what is missing is a finding.

    Raises:
        Unreachable: it can't be reached, or was lost.
    """
    with connect(database_dsn(read_settings()), autocommit=True, application_name="pgfleet doctor") as conn:
        try:
            yield conn
        except psycopg.OperationalError as error:
            raise Unreachable(f"The database stopped answering: {redact(str(error)).strip()}\nTry again.") from None


def _print_finding(finding: Finding) -> None:
    """Print it on lines that are not wrapped, so that the remedy can be copied."""
    line = Text.assemble((f"{finding.severity:<8}", STYLES[finding.severity]), f" {finding.check:<13} {finding.text}")
    out().print(line, soft_wrap=True)
    if finding.remedy is not None:
        out().print(Text(f"{'':<22} do: {finding.remedy}"), soft_wrap=True)
