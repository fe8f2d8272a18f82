"""Checks of the server as sessions meet it: whether it takes writes, fires triggers, vacuums, and who owns what."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgfleet.schema.database.things import wanted
from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.doctor.server import SCHEMAS
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
SERVER, RIGHTS = "server", "rights"

_RELOAD = "select pg_reload_conf()"
_RESET = f"alter database {{database}} reset {{setting}}; alter system reset {{setting}}; {_RELOAD}"
_XIDS = 500_000_000
_TOO_MANY_XIDS = 1_500_000_000
_FULL = 0.9
_LARGE_WAL_MB = 1024


def server(conn: Connection, _: Limits) -> list[Finding]:
    row = ask(conn, SQL["server"])[0]
    exempted = [each["name"] for each in ask(conn, SQL["never_vacuumed"], schemas=SCHEMAS)]
    slots = [slot for slot in ask(conn, SQL["holding_slots"]) if slot["megabytes"] > _LARGE_WAL_MB]
    return [
        *taken_as_it_is(row),
        *_collation(conn, row),
        *(_held_log(slot) for slot in slots),
        *(_exempted(exempted) if exempted else []),
    ]


def taken_as_it_is(row: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with a server and its settings."""
    database = row["database"]
    if row["is_standby"]:
        yield _error("standby", "this server is a standby: nothing can be written", "use the DSN of the primary")
    if row["read_only"] == "on":
        text = "new sessions can't write: default_transaction_read_only is on"
        yield _error("read_only", text, _RESET.format(database=database, setting="default_transaction_read_only"))
    if row["triggers_for"] != "origin":
        text = (
            f"session_replication_role is {row['triggers_for']}: triggers do not fire, so nothing is guarded or counted"
        )
        yield _error("no_triggers", text, _RESET.format(database=database, setting="session_replication_role"))
    for name in ("autovacuum", "track_counts"):
        if row[name] == "off":
            remedy = f"alter system reset {name}; {_RELOAD}"
            yield _warning("no_vacuum", f"{name} is off: queues fill with dead rows, and claims get slow", remedy)
    if row["sessions"] >= row["most"] * _FULL:
        text = f"{row['sessions']} of {row['most']} connections are taken"
        yield _warning("connections", text, "raise max_connections, put a pooler in front, or run fewer workers")
    yield from _wraparound(row)


def _wraparound(row: Mapping[str, Any]) -> Iterator[Finding]:
    if row["xids"] <= _XIDS:
        return
    text = f"the oldest transaction id is {row['xids']} transactions old: at 2 billion the server takes no writes"
    remedy = "see that nothing holds vacuum back (transactions, above), then: vacuum (freeze)"
    yield (_error if row["xids"] > _TOO_MANY_XIDS else _warning)("wraparound", text, remedy)


def _collation(conn: Connection, row: Mapping[str, Any]) -> Iterator[Finding]:
    """After an upgrade of the operating system text may be sorted otherwise than its indexes are."""
    if row["collation"] is None:
        return
    actual = ask(conn, SQL["actual_collation"])[0]["version"]
    if actual not in (None, row["collation"]):
        text = f"text is sorted by collation {actual}, indexes were made by {row['collation']}: rows may not be found"
        remedy = f"reindex database {row['database']}; alter database {row['database']} refresh collation version"
        yield _error("collation", text, remedy)


def _held_log(slot: Mapping[str, Any]) -> Finding:
    text = f"replication slot {slot['slot_name']}, which nobody reads, keeps {slot['megabytes']:.0f} MB of log"
    remedy = f"if its replica is gone: select pg_drop_replication_slot({slot['quoted']})"
    return _warning("slot", text, remedy)


def _exempted(names: list[str]) -> Iterator[Finding]:
    text = f"{len(names)} tables are never vacuumed: {listed(names)}"
    yield _warning("no_vacuum", text, f"alter table {names[0]} reset (autovacuum_enabled)")


def rights(conn: Connection, _: Limits) -> list[Finding]:
    names = [name for kind, name in wanted() if kind in ("table", "view", "function") and not name.startswith("pgmq.")]
    strangers = [row["thing"] for row in ask(conn, SQL["strangers"], names=names)]
    unguarded = [row["name"] for row in ask(conn, SQL["unguarded_tables"])]
    return [
        *_strange(strangers),
        *_unguarded(unguarded),
        *_lacking(ask(conn, SQL["lacking_roles"])),
        *(_able(row) for row in ask(conn, SQL["able_roles"])),
        *(_member(row) for row in ask(conn, SQL["strange_members"])),
        *(_policy(row) for row in ask(conn, SQL["strange_policies"])),
    ]


def _strange(things: list[str]) -> Iterator[Finding]:
    if things:
        text = (
            f"{len(things)} things do not belong to the owner of the others, who can't migrate them: {listed(things)}"
        )
        remedy = "alter ... owner to that of public.schema_migrations"
        yield Finding(RIGHTS, Severity.WARNING, text, remedy, "owner")


def _lacking(roles: list[Row]) -> Iterator[Finding]:
    if roles:
        names = listed([row["role_name"] for row in roles])
        text = f"{len(roles)} roles are missing, so that only the owner of the tables works: {names}"
        remedy = (
            f"as somebody who may make roles: {' '.join(row['statement'] + ';' for row in roles)} Then pgfleet migrate"
        )
        yield Finding(RIGHTS, Severity.WARNING, text, remedy, "roles")


def _able(row: Row) -> Finding:
    text = f"the role {row['role_name']} has {row['able']}, which no role of ours is given"
    return Finding(RIGHTS, Severity.ERROR, text, row["statement"], "able")


def _member(row: Row) -> Finding:
    text = f"the role {row['role_name']} was let into {row['group_name']}, and may what that may"
    return Finding(RIGHTS, Severity.ERROR, text, row["statement"], "member")


def _policy(row: Row) -> Finding:
    text = f"{row['table_name']} has a policy {row['name']} of somebody's, which lets see rows that ours keep back"
    return Finding(RIGHTS, Severity.ERROR, text, row["statement"], "policy")


def _unguarded(tables: list[str]) -> Iterator[Finding]:
    if tables:
        text = f"row level security is on for some tables, and not for {len(tables)}: {listed(tables)}"
        remedy = "pgfleet migrate --rls covers all, pgfleet migrate --no-rls none"
        yield Finding(RIGHTS, Severity.ERROR, text, remedy, "unguarded")


def _error(kind: str, text: str, remedy: str) -> Finding:
    return Finding(SERVER, Severity.ERROR, text, remedy, kind)


def _warning(kind: str, text: str, remedy: str) -> Finding:
    return Finding(SERVER, Severity.WARNING, text, remedy, kind)
