"""What `pgfleet hopsworks` shows: the table of clusters, and all about one."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.pictures.parts import block, cell, dated, facts, styled, table
from pgfleet.console.pictures.users import user_table
from pgfleet.producers.submit.terminal import out
from pgfleet.producers.submit.wording import span
from pgfleet.schema.printable import plural, typed
from pgfleet.schema.rows.row import Row

BAR = 10
WIDE = 120
STYLES = {"active": "green", "full": "yellow", "maintenance": "cyan", "inactive": "dim"}
REKEY = "pgfleet hopsworks rekey"


def list_picture(seen: dict[str, Any]) -> Group:
    found = seen["clusters"]
    if not found:
        return Group(cell("no Hopsworks clusters: `pgfleet hopsworks add` makes one known"))
    parts: list[Text | Table] = [_head(found, seen["waiting_for_any"]), Text(), cluster_table(found)]
    notes = [note for row in found for note in _notes(row)]
    return Group(*parts, *([Text()] if notes else []), *notes)


def _head(found: list[Row], waiting_for_any: dict[str, int]) -> Text:
    """`2 clusters, 14 of 200 seats taken; 3 users wait for any of them: 3 CLUSTER_FULL`."""
    taken, seats = (sum(row[name] or 0 for row in found) for name in ("current_users", "max_users"))
    text = f"{plural(len(found), 'cluster')}, {taken} of {seats} seats taken"
    number = sum(waiting_for_any.values())
    who = f"{number} user{'s wait' if number != 1 else ' waits'} for any of them: {_counted(waiting_for_any)}"
    return cell(f"{text}; {who}" if number else text)


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def cluster_table(found: list[Row]) -> Table:
    headings = ("NAME", "STATUS", "LOAD", "SEATS", "ANSWERS", "WAITING", "WRONG")
    made = table(*headings, right=("SEATS",), fold=("NAME", "WAITING", "WRONG"))
    for row in found:
        known = (cell(row["name"]), _status(row), load(row))
        who = (cell(_counted(row["waiting"]), "yellow"), _wrong(row))
        made.add_row(*known, seats(row), _answers(row), *who)
    return made


def _status(row: dict[str, Any]) -> Text:
    return styled(row["status"], STYLES)


def load(row: dict[str, Any]) -> Text:
    """`####...... 40%`, where there is room for it; a cluster without seats has no load."""
    most, taken = row["max_users"] or 0, row["current_users"] or 0
    if not most:
        return cell("no seats", "dim")
    share = taken / most
    bar = "#" * min(round(share * BAR), BAR)
    style = "red" if share >= 1 else "yellow" if share >= 0.9 else "green"
    return cell(f"{bar:.<{BAR}} {share:.0%}" if out().width >= WIDE else f"{share:.0%}", style)


def seats(row: dict[str, Any]) -> Text:
    return cell(f"{row['current_users'] or 0}/{row['max_users'] or 0}", "red" if row["mismatch"] else "")


def _wrong(row: dict[str, Any]) -> Text:
    """`MISMATCH 5, 1 account`: how many users are assigned, where as many seats are not counted; open failures."""
    mismatch = (f"MISMATCH {row['assigned']}",) if row["mismatch"] else ()
    failures = (_counted(row["open_failures"]),) if row["open_failures"] else ()
    return cell(", ".join((*mismatch, *failures)), "red")


def _answers(row: dict[str, Any]) -> Text:
    """What its breaker says."""
    breaker = row["breaker"]
    if breaker["open"]:
        return cell(f"no: {breaker['kind']}", "red")
    return cell("yes", "green")


def _notes(row: dict[str, Any]) -> Iterator[Text]:
    """What is wrong with a cluster, and what there is to do about it."""
    breaker, name = row["breaker"], cell(row["name"], "bold")
    if breaker["open"]:
        after = f"tried again at {breaker['retry_at']:%H:%M:%S %Z}"
        remedy = f"do: {REKEY} {typed(row['name'], row['id'])}" if breaker["kind"] == "api_key" else after
        yield Text.assemble(name, ": ", cell(f"{reason(row)}; {remedy}", "red"))
    if row["mismatch"]:
        counted = f"{row['current_users'] or 0} seats are counted as taken, {row['assigned']} users are assigned"
        text = f"{counted} (MISMATCH); a running assignment worker repairs it within five minutes"
        yield Text.assemble(name, ": ", cell(text, "red"))


def reason(row: dict[str, Any]) -> str:
    """Why its breaker is open, without the name that every such reason begins with."""
    return str(row["breaker"]["reason"] or "").removeprefix("Hopsworks ").removeprefix(f"{row['name']}: ")


def cluster_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [facts(_facts(seen))]
    if seen["failures"]:
        parts += block("what is wrong", dated(map(_failure, seen["failures"])))
    if seen["users"]:
        parts += block("users", user_table(seen["users"]))
    if seen["more"]:
        parts.append(cell(f"and {seen['more']} more: --limit", "dim"))
    return Group(*parts)


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "cluster", row["id"]
    yield "name", row["name"]
    yield "API", row["api_url"]
    yield "OAuth client", row["client_id"] or "that of the worker's settings"
    yield "status", _status(row)
    yield "seats", Text.assemble(seats(row), "  ", load(row))
    yield "answers", Text.assemble(_answers(row), " ", cell(_since(row["breaker"], row["now"])))
    yield "waiting", _counted(row["waiting"]) or "nobody"
    yield "metrics", "through its kubeconfig" if row["has_kubeconfig"] else "none: it has no kubeconfig"
    for note in _notes(row):
        yield "wrong", note


def _since(breaker: dict[str, Any], now: datetime) -> str:
    if not breaker["open"]:
        return ""
    since, until = (now - breaker["began_at"]).total_seconds(), (breaker["retry_at"] - now).total_seconds()
    again = f"tried again in {span(until)}" if until > 0 else "to be tried again now"
    return f"since {span(since)}; {again}"


def _failure(row: Row) -> tuple[datetime, *tuple[object, ...]]:
    check, times = cell(row["check_name"], "red"), f"{row['failures']}x"
    return row["last_failed_at"], check, times, row["email"], row["details"]
