"""What `pgfleet users` shows: the table of users, and all about one."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.pictures.parts import age, block, cell, counts, facts, moment, seconds, styled, table
from pgfleet.console.pictures.timeline import events
from pgfleet.producers.reading.timeline import Timeline
from pgfleet.producers.submit.terminal import out
from pgfleet.schema.assignment import FINAL, LIVE
from pgfleet.schema.reads.assignment import NONE
from pgfleet.schema.rows.row import Row

WIDE = 140
STYLES = {
    "pending": "yellow",
    "creating_user": "cyan",
    "active": "green",
    "released": "dim",
    "failed": "red",
    NONE: "dim",
    "without an assignment": "dim",
}


def list_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [_head(seen["counts"])]
    if seen["users"]:
        parts += [Text(), user_table(seen["users"])]
    if seen["more"]:
        parts.append(cell(f"and {seen['more']} more: --limit, --cluster, --status or --waiting", "dim"))
    return Group(*parts)


def _head(number: dict[str, int]) -> Text:
    """`3 users: 1 pending, 2 active`."""
    if not sum(number.values()):
        return cell("no such users: the sign-up service writes hopsworks.users")
    named = {"without an assignment" if name == NONE else name: number for name, number in number.items()}
    return counts("user", named, STYLES)


def user_table(found: list[Row]) -> Table:
    """USERNAME, OWNER and BY only where the terminal is wide."""
    wide = out().width >= WIDE
    more = ("USERNAME", "OWNER", "BY") if wide else ()
    made = table("E-MAIL", "STATUS", "CLUSTER", *more, "SINCE", "WHY", fold=("E-MAIL", "CLUSTER", *more[:2], "WHY"))
    for row in found:
        known = (cell(row["email"]), _status(row), cell(row["cluster_name"]))
        account = (cell(row[name]) for name in ("hopsworks_username", "owner_email", "assigned_by")) if wide else ()
        made.add_row(*known, *account, _since(row["status_since"], wide=wide), cell(why(row)))
    return made


def _since(at: datetime | None, *, wide: bool) -> Text:
    if at is None:
        return Text()
    return cell(f"{at:%Y-%m-%d %H:%M}" if wide else f"{at:%m-%d %H:%M}")


def _status(row: dict[str, Any]) -> Text:
    """`active, suspended`."""
    name = row["status"] or NONE
    return styled(name, STYLES, f"{name}, suspended" if row["suspended_at"] is not None else name)


def why(row: dict[str, Any]) -> str:
    """What a user waits for, or why it is over."""
    if row["status"] in FINAL:
        return str(row["status_reason"] or "")
    if row["detail"] == f"{row['hopsworks_username']} on {row['cluster_name']}":
        # USERNAME and CLUSTER show it.
        return ""
    return str(row["detail"] or row["status_reason"] or "")


def user_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [facts(_facts(seen))]
    if seen["team"]:
        parts += block("team", user_table(seen["team"]))
    timeline = Timeline(seen["now"], seen, None, seen["history"], seen["dead_letters"], seen["messages"])
    return Group(*parts, *events(timeline))


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "user", row["user_id"]
    yield "e-mail", row["email"]
    yield "name", row["name"]
    if row["account_owner_id"] is not None:
        yield "member of", f"{row['owner_email']} ({row['account_owner_id']})"
    if row["status"] is None:
        yield "status", cell("no assignment: `pgfleet submit assignment` makes one", "dim")
        return
    yield "status", Text.assemble(_status(row), ": " if why(row) else "", cell(why(row)))
    yield "since", _moment(row["status_since"], row["now"])
    yield "cluster", _cluster(row)
    yield "assigned by", f"{row['assigned_by'] or '?'}, {_moment(row['assigned_at'], row['now'])}"
    if row["suspended_at"] is not None:
        alone = row["suspended_for"] in (None, row["user_id"])
        with_whom = "" if alone else f", with the owner {row['suspended_for']}"
        yield "suspended", cell(f"{_moment(row['suspended_at'], row['now'])}{with_whom}", "yellow")
    yield from _account(row)


def _moment(at: datetime | None, now: datetime) -> str:
    return moment(at, now, never="unknown")


def _cluster(row: dict[str, Any]) -> str:
    if row["cluster_name"] is not None:
        return str(row["cluster_name"])
    if row["status"] in LIVE:
        return f"none yet; wanted is {row['wanted_cluster_name'] or 'the one with most room'}"
    return "none" if row["left_cluster_name"] is None else f"none; was on {row['left_cluster_name']}"


def _account(row: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """What the Hopsworks server last said."""
    if row["hopsworks_username"] is not None:
        enabled = {None: "not looked at yet", True: "may log in", False: "may not log in"}[row["account_enabled"]]
        number = "" if row["hopsworks_user_id"] is None else f", number {row['hopsworks_user_id']}"
        projects = "" if row["max_projects"] is None else f", {row['max_projects']} projects of its own"
        yield "account", f"{row['hopsworks_username']}{number}: {enabled}{projects}"
        yield "looked at", age(seconds(row["checked_at"], row["now"]))
    for failure in row["failures"]:
        times = f"{failure['failures']} times since {failure['first_failed_at']:%Y-%m-%d %H:%M}"
        yield "wrong", cell(f"{failure['details']} ({times})", "red")
