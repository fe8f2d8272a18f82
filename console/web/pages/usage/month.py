"""A month's use: GPU hours by day, type and user, and what users of Hopsworks owe."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import quote

import htpy as h

from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.pictures.bars import bar
from pgfleet.console.web.look.pictures.days import days, key
from pgfleet.console.web.look.tables import Column, table, turning
from pgfleet.console.web.look.words import number
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.usage import UsageFilter, list_usage
from pgfleet.schema.reads import usage as reads
from pgfleet.schema.reads.pictures import usage as pictures
from pgfleet.schema.reads.usage import Month
from pgfleet.schema.rows.row import Row

HOURS = "GPU hours"


def usage(view: View) -> Screen:
    asked = view.call.asked(UsageFilter)
    month = reads.read_month(view.call.conn, asked.month)
    sees_all = view.sees_all("usage.read")
    found = pictures.of_month(view.call.conn, month, asked.user_id if sees_all else view.username)
    owed = list_usage(view.call).body
    return Screen(
        f"Usage in {month.first:%B %Y}",
        [
            Part("month", months(view, month, asked.user_id if sees_all else None)),
            Part("days", _days(view, month, found.days)),
            Part("types", _types(found.days)),
            Part("users", sees_all and _users(month, found.users)),
            Part("owed", _owed(owed, month, sees_all=sees_all)),
            Part("pages", turning(view.address, asked, owed["next"])),
        ],
    )


def months(view: View, month: Month, user_id: str | None = None) -> h.Node:
    """The month before, the one after, and any other."""
    more = f"&user_id={quote(user_id, safe='')}" if user_id else ""
    before, present = Month((month.first - timedelta(days=1)).replace(day=1)), Month(view.now.date().replace(day=1))
    return h.form(".filters", method="get", action=view.address, role="search", aria_label="Month")[
        h.a(href=f"{view.address}?month={before}{more}", rel="prev")[f"← {before.first:%B}"],
        h.label["Month", h.input(type="month", name="month", value=str(month), max=str(present), min="2000-01")],
        user_id and h.label["User", h.input(name="user_id", value=user_id, maxlength="255")],
        h.button(".button")["Show"],
        month.first < present.first
        and h.a(href=f"{view.address}?month={Month(month.after)}{more}", rel="next")[f"{month.after:%B} →"],
        more and h.a(href=f"{view.address}?month={month}")["Everybody"],
    ]


def shown_days(month: Month, today: date) -> list[date]:
    """Those of the month that have begun."""
    last = min(month.after - timedelta(days=1), today)
    return [month.first + timedelta(days=place) for place in range((last - month.first).days + 1)]


def _days(view: View, month: Month, rows: list[Row]) -> h.Node:
    title = h.h2["GPU hours by day"]
    if not rows:
        return [title, h.p(".empty")["No GPU was used in this month. ", to_page("/reserve", "Reserve GPUs")]]
    amounts: dict[date, dict[str, float]] = {day: {} for day in shown_days(month, view.now.date())}
    for row in rows:
        amounts.setdefault(row["date"], {})[row["gpu_type"]] = row["gpu_hours"]
    parts = _by_hours(rows, "gpu_type")
    return [title, days(amounts, parts, HOURS, "GPU hours by day"), key(parts)]


def _by_hours(rows: list[Row], name: str) -> list[str]:
    """What has most first."""
    sums: dict[str, float] = defaultdict(float)
    for row in rows:
        sums[row[name]] += row["gpu_hours"]
    return sorted(sums, key=lambda each: (-sums[each], each))


def _types(rows: list[Row]) -> h.Node:
    if not rows:
        return None
    sums = {
        kind: sum(row["gpu_hours"] for row in rows if row["gpu_type"] == kind) for kind in _by_hours(rows, "gpu_type")
    }
    most = max(sums.values())
    columns = [
        Column("GPU type", lambda kind: kind),
        Column(HOURS, lambda kind: _share(sums[kind], most)),
        Column("Days", lambda kind: number(sum(row["gpu_type"] == kind for row in rows)), is_number=True),
    ]
    return [h.h2["By GPU type"], table(columns, list(sums), "", "By GPU type")]


def _share(hours: float, most: float) -> h.Node:
    told = number(round(hours, 1), HOURS, HOURS)
    parts = [("held", hours, told), ("room", most - hours, "")]
    return h.span(".of-most", title=told)[bar(parts, told), number(round(hours, 1))]


def _users(month: Month, rows: list[Row]) -> h.Node:
    if not rows:
        return None
    users = _by_hours(rows, "user_id")
    of_user = {user: [row for row in rows if row["user_id"] == user] for user in users}
    most = sum(row["gpu_hours"] for row in of_user[users[0]])
    columns = [
        Column("User", lambda user: h.a(href=f"/usage?month={month}&user_id={quote(user, safe='')}")[user]),
        Column(HOURS, lambda user: _share(sum(row["gpu_hours"] for row in of_user[user]), most)),
        Column(
            "By type",
            lambda user: ", ".join(f"{row['gpu_type']} {number(round(row['gpu_hours'], 1))}" for row in of_user[user]),
        ),
        Column("Reservations", lambda user: number(sum(row["reservations"] for row in of_user[user])), is_number=True),
    ]
    rest = len(users) == pictures.MOST_USERS and h.p(".dim")[f"These are the {len(users)} that used most."]
    return [h.h2["By user"], table(columns, users, "", "By user"), rest]


def _owed(found: Row, month: Month, *, sees_all: bool) -> h.Node:
    currency = found["currency"]
    columns = [
        Column(
            "User",
            lambda row: h.a(href=f"/usage/{quote(row['user_id'], safe='')}?month={month}", title=row["user_id"])[
                row["email"]
            ],
        ),
        *amounts_of_month(currency),
        Column("Used ever", lambda row: money(row["total_used"], currency), is_number=True),
        Column("Bought", lambda row: money(row["total_purchased"], currency), is_number=True),
        Column("Charged, unpaid", lambda row: money(row["pending"], currency), is_number=True),
        Column("Owed", lambda row: owed(row["outstanding"], currency), is_number=True),
    ]
    empty = (
        "Nobody has used Hopsworks in this month, nor bought or owes anything."
        if sees_all
        else "You have used no Hopsworks account in this month, and owe nothing."
    )
    return [h.h2["What is owed, of Hopsworks accounts"], table(columns, found["items"], empty, "What is owed")]


def amounts_of_month(currency: str) -> list[Column]:
    return [
        Column("Seat days", lambda row: number(float(round(row["seat_days"], 1))), is_number=True),
        Column(HOURS, lambda row: number(float(round(row["gpu_hours"], 1))), is_number=True),
        Column("CPU hours", lambda row: number(float(round(row["cpu_hours"], 1))), is_number=True),
        Column("GB months", lambda row: number(float(round(row["storage_gb_months"], 1))), is_number=True),
        Column("Cost", lambda row: money(row["total_cost"], currency), is_number=True),
    ]


def money(amount: Decimal, currency: str | None) -> str:
    return f"{amount:,.2f} {currency or ''}".strip()


def owed(amount: Decimal, currency: str) -> h.Node:
    """More than nothing is to be paid; less is a credit."""
    if amount > 0:
        return h.strong[money(amount, currency)]
    return h.span(".dim")[money(abs(amount), currency), amount < 0 and " left"]


PAGES = (Page("/usage", "Usage", "usage.read", usage, menu=70, asks=UsageFilter, is_own=True),)
