"""Checks of the server's own bookkeeping: old transactions, tables that grew, indexes, sequences."""

from collections.abc import Mapping
from typing import Any

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask
from pgfleet.schema.kinds import queues
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

TRANSACTIONS, BLOAT, INDEXES, SEQUENCES = "transactions", "bloat", "indexes", "sequences"
SCHEMAS = ["public", "hopsworks", "autoscaler", "clusters", "pgmq"]

# Everything that keeps vacuum from removing dead rows of this database. Never what a session runs: a query may hold
# secrets. Vacuum itself is no reason for vacuum to wait.
_HOLDERS = """
  select 'session' as kind, pid, application_name as name, quote_literal(application_name) as quoted, state,
    extract(epoch from clock_timestamp() - xact_start)::float8 as age_s, age(backend_xmin) as age_xids
  from pg_stat_activity
  where datname = current_database() and xact_start is not null and backend_type <> 'autovacuum worker'
    and pid <> pg_backend_pid() and leader_pid is distinct from pg_backend_pid()
  union all
  select 'replica', pid, application_name, quote_literal(application_name), state, null, age(backend_xmin)
  from pg_stat_activity
  where backend_type = 'walsender' and xact_start is null and backend_xmin is not null
  union all
  select 'prepared', null, gid, quote_literal(gid), 'prepared',
    extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
  from pg_prepared_xacts where database = current_database()
  union all
  select 'slot', active_pid, slot_name, quote_literal(slot_name), case when active then 'active' else 'inactive' end,
    null, age(xmin)
  from pg_replication_slots where xmin is not null
  order by age_s desc nulls last, age_xids desc nulls last
"""


def transactions(conn: Connection, limits: Limits) -> list[Finding]:
    return [finding for row in ask(conn, _HOLDERS) if (finding := holder(row, limits))]


def holder(row: Mapping[str, Any], limits: Limits) -> Finding | None:
    """A replica and a slot have no age in time: theirs is counted in transactions."""
    timed = row["age_s"] is not None
    age = (row["age_s"] if timed else row["age_xids"]) or 0
    old, very_old = (limits.old_s, limits.very_old_s) if timed else (limits.old_xids, limits.very_old_xids)
    if age <= old:
        return None
    severity = Severity.ERROR if age > very_old else Severity.WARNING
    since = f"open for {age:.0f} s" if timed else f"{age} transactions old"
    what, remedy = _WHAT_TO_DO[row["kind"]]
    text = f"{what.format(**row)}, {since}: vacuum can't remove what died since"
    return Finding(TRANSACTIONS, severity, text, remedy.format(**row))


_WHAT_TO_DO = {
    "session": ("transaction of {name}, pid {pid}, {state}", "select pg_terminate_backend({pid})"),
    "replica": (
        "snapshot of replica {name}, pid {pid}",
        "end the long query on the replica, or turn its hot_standby_feedback off",
    ),
    "prepared": ("prepared transaction {name}", "rollback prepared {quoted}"),
    "slot": (
        "xmin of replication slot {name}, {state}",
        "if its replica is gone: select pg_drop_replication_slot({quoted})",
    ),
}


# After a crash the statistics begin at 0 again; then the planner's estimate knows better.
_SIZES = """
  select quote_ident(s.schemaname) || '.' || quote_ident(s.relname) as name, s.n_dead_tup as dead,
    greatest(s.n_live_tup, c.reltuples::bigint) as live, pg_table_size(s.relid) as bytes
  from pg_stat_user_tables s join pg_class c on c.oid = s.relid
  where s.schemaname = 'pgmq' and s.relname = any(%(tables)s)
  order by s.relname
"""


def bloat(conn: Connection, limits: Limits) -> list[Finding]:
    """Queue tables whose claims have to walk over many dead rows, or through much empty space."""
    rows = ask(conn, _SIZES, tables=[f"q_{queue}" for queue in queues()])
    swollen = [row for row in rows if _is_full_of_dead(row, limits) or _is_large(row, limits)]
    held = " (an old transaction holds it back: see above)" if swollen and transactions(conn, limits) else ""
    return [_swollen(row, limits, held) for row in swollen]


def _swollen(row: Row, limits: Limits, held: str) -> Finding:
    size = f"{row['bytes'] / 1024 / 1024:.0f} MB"
    text = f"{row['name']} has {row['dead']} dead rows and {row['live']} live ones in {size}"
    remedy = f"vacuum {row['name']}{held}"
    if not _is_full_of_dead(row, limits):
        remedy += f"; if it stays as large, with its workers stopped: vacuum full {row['name']}"
    return Finding(BLOAT, Severity.WARNING, text, remedy)


def _is_full_of_dead(row: Row, limits: Limits) -> bool:
    return bool(row["dead"] > limits.dead_rows and row["dead"] > limits.dead_ratio * row["live"])


def _is_large(row: Row, limits: Limits) -> bool:
    return bool(row["bytes"] > limits.large_bytes and row["live"] < limits.few_rows)


# One that is being built right now is not valid yet.
_INVALID = """
  select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, c.relname ~ '_cc(new|old)[0-9]*$' as is_left
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
  where not i.indisvalid and c.relkind = 'i' and n.nspname = any(%(schemas)s)
    and not exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid)
  order by name
"""


def indexes(conn: Connection, _: Limits) -> list[Finding]:
    """Those that a concurrent build left behind when it failed: they cost writes and serve no read."""
    return [_invalid(row) for row in ask(conn, _INVALID, schemas=SCHEMAS)]


def _invalid(row: Row) -> Finding:
    verb = "drop" if row["is_left"] else "reindex"
    return Finding(INDEXES, Severity.ERROR, f"{row['name']} is not valid", f"{verb} index concurrently {row['name']}")


_FILLING = """
  with owned as (
    select quote_ident(tn.nspname) || '.' || quote_ident(t.relname) as table_name,
      quote_ident(a.attname) as column_name,
      quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename) as sequence_name,
      d.deptype = 'i' as is_identity, s.last_value,
      least(s.max_value, case a.atttypid when 'int2'::regtype then 32767 else 2147483647 end) as most
    from pg_sequences s
    join pg_namespace sn on sn.nspname = s.schemaname
    join pg_class c on c.relnamespace = sn.oid and c.relname = s.sequencename
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    join pg_class t on t.oid = d.refobjid
    join pg_namespace tn on tn.oid = t.relnamespace
    where s.schemaname = any(%(schemas)s) and not s.cycle and a.atttypid in ('int2'::regtype, 'int4'::regtype)
  )
  select * from owned where last_value > most * %(share)s::float8 order by table_name, column_name
"""


def sequences(conn: Connection, limits: Limits) -> list[Finding]:
    return [_filling(row) for row in ask(conn, _FILLING, schemas=SCHEMAS, share=limits.used_share)]


def _filling(row: Row) -> Finding:
    text = f"{row['table_name']}.{row['column_name']} has used {row['last_value'] / row['most']:.0%} of its numbers"
    # An identity's sequence follows its column; a serial's does not.
    remedy = f"alter table {row['table_name']} alter column {row['column_name']} type bigint"
    own = "" if row["is_identity"] else f"; alter sequence {row['sequence_name']} as bigint"
    return Finding(SEQUENCES, Severity.WARNING, text, f"{remedy}{own} (rewrites the table, which is locked meanwhile)")
