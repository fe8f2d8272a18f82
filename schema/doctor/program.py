"""Checks of what the program stands on: versions, what is missing, files applied, and settings of the database."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pgfleet.schema.database.before import is_of_before
from pgfleet.schema.database.catalog import SqlFile, is_ours, sql_files
from pgfleet.schema.database.lacks import lacks
from pgfleet.schema.database.missing import pending
from pgfleet.schema.database.remedies import by_hand, revokes
from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import pod
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
VERSIONS, SCHEMA, MIGRATIONS, SETTINGS = "versions", "schema", "migrations", "settings"
OLDEST, NEWEST = 14, 18
SEARCH_PATH = ("public", "hopsworks", "autoscaler", "clusters")


def versions(conn: Connection, _: Limits) -> list[Finding]:
    """Always says which they are, and of which fleet."""
    (row,) = ask(conn, SQL["versions"])
    return [supported(row, pod.fleet(conn) if row["may_have_name"] else "")]


def supported(row: Mapping[str, Any], fleet: str = "") -> Finding:
    pgmq = row["pgmq"] or ("installed as SQL" if row["has_pgmq"] else "not installed")
    text = f"PostgreSQL {row['server']}, PGMQ {pgmq}, pgfleet {_own_version()}{f', fleet {fleet}' if fleet else ''}"
    if OLDEST <= row["major"] <= NEWEST:
        return Finding(VERSIONS, Severity.OK, text)
    remedy = f"use a server of PostgreSQL {OLDEST} to {NEWEST}, which pgfleet is tested with"
    return Finding(VERSIONS, Severity.WARNING, text, remedy)


def _own_version() -> str:
    try:
        return version("pgfleet")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def absent(conn: Connection, _: Limits) -> list[Finding]:
    """All of the list that `migrate` and services have, not only the first of it."""
    found = lacks(conn, sql_files())
    needless = [lack for lack in found if lack.kind == "needless rights of"]
    by_person = [lack for lack in found if by_hand(lack)]
    missing = [str(lack) for lack in found if lack.found is None and lack not in (*by_person, *needless)]
    missing += pending(conn, whole=not found)
    altered = [str(lack) for lack in found if lack.found is not None and lack not in by_person]
    return [
        *_lacking("missing", f"{len(missing)} missing", missing),
        *_lacking("altered", f"{len(altered)} not as they have to be", altered),
        *(Finding(SCHEMA, Severity.ERROR, str(lack), by_hand(lack), "by_hand") for lack in by_person),
        *(Finding(SCHEMA, Severity.ERROR, str(lack), "; ".join(revokes(lack)), "needless") for lack in needless),
    ]


def _lacking(kind: str, what: str, things: list[str]) -> list[Finding]:
    text = f"{what}: {', '.join(things)}"
    return [Finding(SCHEMA, Severity.ERROR, text, "pgfleet migrate", kind)] if things else []


def checksums(conn: Connection, _: Limits) -> list[Finding]:
    """One that was recorded without a checksum is taken as it is, as `migrate` does."""
    recorded = {row["version"]: row["checksum"] for row in ask(conn, SQL["recorded_files"]) if is_ours(row["version"])}
    files = {file.version: file for file in sql_files()}
    if is_of_before(recorded, list(files.values())):
        text = "the database is of before the SQL files were put in order"
        return [Finding(MIGRATIONS, Severity.WARNING, text, "pgfleet migrate brings it over")]
    unknown = [name for name in recorded if name not in files]
    edited = [file for name, file in files.items() if recorded.get(name) not in (None, file.checksum)]
    return _newer(unknown) + [_edited(file) for file in edited]


def _newer(unknown: list[str]) -> list[Finding]:
    if not unknown:
        return []
    text = f"newer database: it has seen {listed(unknown)}, which this program does not have"
    remedy = "run the version of pgfleet that brought it there, or a later one"
    return [Finding(MIGRATIONS, Severity.ERROR, text, remedy)]


def _edited(file: SqlFile) -> Finding:
    text = f"{file.version}.sql was edited after it was applied"
    if file.may_change:
        return Finding(MIGRATIONS, Severity.WARNING, text, "pgfleet migrate applies it again")
    remedy = "restore the file as it was released, and put the change into a new numbered file"
    return Finding(MIGRATIONS, Severity.ERROR, text, remedy)


def settings(conn: Connection, _: Limits) -> list[Finding]:
    row = ask(conn, SQL["settings"])[0]
    return _search_path(row) + durability(row)


def _search_path(row: Row) -> list[Finding]:
    """Their order matters as well: two of them have a table `users`."""
    names = [name.strip(' "') for name in (row["search_path"] or "").split(",")]
    if [name for name in names if name in SEARCH_PATH] == list(SEARCH_PATH):
        return []
    wanted = ", ".join(SEARCH_PATH)
    text = f"the search_path of the database is {row['search_path'] or 'not set'}: queries without schema names fail"
    remedy = f"alter database {row['database']} set search_path = {wanted}"
    return [Finding(SETTINGS, Severity.WARNING, text, remedy)]


def durability(row: Mapping[str, Any]) -> list[Finding]:
    risks = {
        "fsync": (Severity.ERROR, "a crash of the server can destroy the database", "alter system reset fsync"),
        "full_page_writes": (
            Severity.WARNING,
            "a crash while a page is written can destroy it, unless the file system prevents it",
            "alter system reset full_page_writes",
        ),
        "synchronous_commit": (
            Severity.WARNING,
            "a crash of the server forgets what was just committed, after the cluster was told",
            f"alter system reset synchronous_commit; alter database {row['database']} reset synchronous_commit",
        ),
    }
    return [
        Finding(SETTINGS, severity, f"{name} is off: {danger}", f"{remedy}; select pg_reload_conf()")
        for name, (severity, danger, remedy) in risks.items()
        if row[name] == "off"
    ]
