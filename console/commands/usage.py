"""`pgfleet usage`: what users have used in a month, what it costs, and what they owe; or the days of one of them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import block, cell, dated, facts, styled, table
from pgfleet.console.showing import show
from pgfleet.producers.submit.commands import AsJson
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import usage as reads
from pgfleet.schema.rows.row import Row

AMOUNTS = {
    "seat_days": "SEAT DAYS",
    "gpu_hours": "GPU HOURS",
    "cpu_hours": "CPU HOURS",
    "storage_gb_months": "GB MONTHS",
    "total_cost": "COST",
}
CREDITS = {"total_used": "USED", "total_purchased": "PURCHASED", "pending": "PENDING", "outstanding": "OWED"}
STYLES = {"pending": "yellow", "paid": "green", "completed": "green", "failed": "red"}
Given = Annotated[str | None, typer.Argument(metavar="USER", help="Only this one: an Auth0 id or an e-mail.")]


@example("pgfleet usage ada@example.com --month 2026-11")
def usage(
    given: Given = None,
    *,
    month: Annotated[str | None, typer.Option(help="Which month, as 2026-11; the present one if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what users have used in a month and what they owe; with USER, day by day."""
    with database() as conn:
        wanted = reads.read_month(conn, month)
        if given is None:
            show(lambda: look(conn, wanted), picture, as_json=as_json)
        else:
            user = reads.resolve(conn, given)
            show(lambda: look_at(conn, user, wanted), user_picture, as_json=as_json)


def look(conn: Connection, month: reads.Month) -> dict[str, Any]:
    users = [_plain(user) for user in reads.listing(conn, month)]
    return {"month": str(month), "currency": reads.currency(conn), "users": users}


def look_at(conn: Connection, user: dict[str, Any], month: reads.Month) -> dict[str, Any]:
    days = reads.days(conn, user["user_id"], month)
    return {
        **user,
        "month": str(month),
        "currency": reads.currency(conn),
        "days": [_plain(day) for day in days],
        "sums": _plain({name: sum((day[name] for day in days), Decimal(0)) for name in AMOUNTS}),
        "credits": _plain(reads.credit(conn, user["user_id"])),
        "charges": [_plain(charge) for charge in reads.charges(conn, user["user_id"])],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its decimals as floats, which JSON has."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def picture(seen: dict[str, Any]) -> Group:
    if not seen["users"]:
        return Group(cell("no usage yet: a day is billed from an hour after its end (UTC) on, by `pgfleet worker`"))
    return Group(_head(seen["month"], seen["currency"]), Text(), user_table(seen["users"]))


def _head(what: str, currency: str) -> Text:
    return cell(f"{what}, money in {currency}" if currency else what, "dim")


def user_table(users: list[Row]) -> Table:
    numbers = (*AMOUNTS.values(), *CREDITS.values())
    made = table("USER", "EMAIL", *numbers, right=numbers, fold=("USER", "EMAIL"))
    for user in users:
        amounts = [*_amounts(user), *_money(user[name] for name in CREDITS)]
        made.add_row(cell(user["user_id"]), cell(user["email"]), *amounts)
    return made


def _amounts(row: dict[str, Any]) -> list[Text]:
    """Days and hours to a hundredth, then the cost."""
    *used, cost = (row[name] for name in AMOUNTS)
    return [*(cell(f"{number:,.2f}") for number in used), *_money((cost,))]


def _money(numbers: Any) -> list[Text]:
    return [cell(f"{number:,.2f}") for number in numbers]


def user_picture(seen: dict[str, Any]) -> Group:
    parts: list[Text | Table] = [facts(_facts(seen).items()), Text(), *_days(seen)]
    if seen["charges"]:
        parts += block("charges", dated(map(_charge, seen["charges"]), "%Y-%m-%d %H:%M"))
    return Group(*parts)


def _facts(seen: dict[str, Any]) -> dict[str, object]:
    money = {heading.lower(): f"{seen['credits'][name]:,.2f}" for name, heading in CREDITS.items()}
    return {"user": seen["user_id"], "email": seen["email"], "name": seen["name"], **money}


def _days(seen: dict[str, Any]) -> list[Text | Table]:
    if not seen["days"]:
        return [cell(f"nothing was billed in {seen['month']}")]
    made = table("DAY", *AMOUNTS.values(), right=tuple(AMOUNTS.values()))
    for day in seen["days"]:
        made.add_row(cell(day["date"]), *_amounts(day))
    made.add_section()
    made.add_row(cell("sum", "bold"), *_amounts(seen["sums"]), style="bold")
    return [_head(seen["month"], seen["currency"]), made]


def _charge(row: Row) -> tuple[datetime, *tuple[object, ...]]:
    money = f"{row['amount']:,.2f} {row['currency'] or ''}"
    status = styled(row["status"], STYLES)
    return row["created_at"], money, status, row["description"], row["stripe_invoice_id"]
