"""One user of Hopsworks: the days of a month, what is owed, and the last charges."""

import htpy as h

from pgfleet.console.web.look.pictures.days import days
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.usage.month import amounts_of_month, money, months, owed, shown_days
from pgfleet.producers.http.endpoints.usage import OfMonth, get_usage
from pgfleet.schema.reads import usage as reads
from pgfleet.schema.reads.assignment import user as hopsworks_user
from pgfleet.schema.reads.usage import Month
from pgfleet.schema.rows.row import Row


def usage_of_one(view: View) -> Screen:
    found = get_usage(view.call).body
    month = reads.read_month(view.call.conn, found["month"])
    currency = found["currency"]
    facts = [
        ("Owed", owed(found["outstanding"], currency)),
        ("Used ever", money(found["total_used"], currency)),
        ("Bought", money(found["total_purchased"], currency)),
        ("Charged, unpaid", money(found["pending"], currency)),
    ]
    known = hopsworks_user(view.call.conn, found["user_id"])
    return Screen(
        f"{known['email'] if known else found['user_id']} in {month.first:%B %Y}",
        [
            Part("month", months(view, month)),
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts)]),
            Part("days", _days(view, month, found["days"], currency)),
            Part("charges", _charges(view, found["charges"])),
        ],
    )


def _days(view: View, month: Month, rows: list[Row], currency: str) -> h.Node:
    costs = {row["date"]: {"cost": float(row["total_cost"])} for row in rows}
    amounts = {day: costs.get(day, {}) for day in shown_days(month, view.now.date())}
    columns = [Column("Day", lambda row: f"{row['date']:%a %d %b}"), *amounts_of_month(currency)]
    return [
        h.h2["Cost by day"],
        rows and days(amounts, ["cost"], currency, "Cost by day"),
        h.details[h.summary["As a table"], table(columns, rows, "", "By day")]
        if rows
        else h.p(".empty")["Nothing was used in this month."],
    ]


def _charges(view: View, rows: list[Row]) -> h.Node:
    columns = [
        Column("When", lambda row: when(row["created_at"], view.now)),
        Column("Amount", lambda row: money(row["amount"], row["currency"]), is_number=True),
        Column("State", lambda row: state(row["status"] or "unknown")),
        Column("For", lambda row: row["description"]),
    ]
    return [h.h2["Last charges"], table(columns, rows, "Nothing was charged yet.", "Last charges")]


PAGES = (Page("/usage/{user_id}", "Usage of one user", "usage.read", usage_of_one, asks=OfMonth),)
