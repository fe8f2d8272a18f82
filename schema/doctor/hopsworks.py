"""Checks of Hopsworks: clusters that do not answer, accounts that are not as they should be, forgotten assignments."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask, listed
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

HOPSWORKS = "hopsworks"
WORKER = "pgfleet worker assignment"


def hopsworks(conn: Connection, _: Limits) -> list[Finding]:
    breakers = [_breaker(row) for row in ask(conn, _OPEN)]
    return [*breakers, *_accounts(ask(conn, _ACCOUNTS)), *_unattended(ask(conn, _FORGOTTEN))]


_OPEN = """
  select c.id::text, c.name, b.kind, b.reason,
    extract(epoch from public.fleet_now() - b.opened_at)::float8 as open_s,
    b.retry_at < public.fleet_now() - interval '60 seconds' as is_overdue
  from hopsworks.cluster_breakers b join hopsworks.hopsworks_clusters c on c.id = b.cluster_id
  where b.retry_at is not null
  order by c.name, c.id
"""


def _breaker(row: Row) -> Finding:
    """A refused key is an operator's to replace; whether the others answer again is looked at by the worker."""
    handle, name = typed(row["name"], row["id"]), printable(row["name"])
    reason = printable((row["reason"] or "").removeprefix(f"{row['name']}: "))
    text = f"{name} is left alone for {row['open_s']:.0f} s ({row['kind']}): {reason}"
    if row["kind"] == "api_key":
        return Finding(HOPSWORKS, Severity.ERROR, text, f"pgfleet hopsworks rekey {handle}")
    if row["is_overdue"]:
        return Finding(HOPSWORKS, Severity.WARNING, f"{text}; nobody looks whether it answers again", WORKER)
    return Finding(HOPSWORKS, Severity.WARNING, text, f"see pgfleet hopsworks show {handle}, and that server")


_ACCOUNTS = """
  select coalesce(u.email, f.user_id) as who, f.details
  from hopsworks.health_check_failures f left join hopsworks.users u on u.id = f.user_id
  where f.resolved_at is null and f.check_name = 'account'
  order by f.first_failed_at, f.id
"""


def _accounts(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    text = f"{len(rows)} accounts are not as they should be: {listed(printable(row['who']) for row in rows)}"
    return [Finding(HOPSWORKS, Severity.WARNING, text, "pgfleet users show USER says what is wrong")]


# As the sweep looks for them (workers/assignment/view.py). A row that has just come may still wait for its producer
# to send.
_FORGOTTEN = """
  select a.user_id, a.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
  from hopsworks.user_hopsworks_assignments a
  left join public.periodic p on p.name = 'assignment.sweep'
  where a.status in ('pending', 'creating_user') and a.status_since < public.fleet_now() - interval '10 seconds'
    and not exists (
      select from pgmq.q_cluster_assignments q
      where q.message ->> 'action' = 'advance' and q.message ->> 'user_id' = a.user_id
        and q.message ->> 'ticket' = a.ticket::text)
  order by a.status_since, a.user_id
"""


def _unattended(rows: list[Row]) -> list[Finding]:
    """An error where the sweep should have seen them by now: then no worker runs."""
    overdue = [printable(row["user_id"]) for row in rows if row["is_overdue"]]
    recent = [printable(row["user_id"]) for row in rows if not row["is_overdue"]]
    return [*_forgotten(overdue, Severity.ERROR), *_forgotten(recent, Severity.WARNING)]


def _forgotten(users: list[str], severity: Severity) -> list[Finding]:
    if not users:
        return []
    text = f"{len(users)} live assignments without a message: {listed(users)}"
    return [Finding(HOPSWORKS, severity, text, f"a running assignment worker repairs it within a minute: {WORKER}")]
