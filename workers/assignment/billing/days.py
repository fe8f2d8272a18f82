"""What users owe for what they use, billed day by day; and the steps of measuring it.

    bill --> billed_days, and bill_user for each user of the oldest day that is not listed yet
    bill_user: seats + reservations + disks + samples of the day
           --> usage_daily, user_credits, and a charge where enough is owed

A day can be billed late, and in any order; its rows have the ids that come from user and day, so it counts once.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pgfleet.schema.assignment import Bill, BillUser, Measure, MeasureCluster
from pgfleet.schema.messages import Message
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.billing import billed_days, billing_history, usage_daily, user_credits
from pgfleet.workers.assignment.billing.measuring import measure, measure_cluster
from pgfleet.workers.assignment.billing.view import (
    BILLABLE,
    DAY_CLOSES,
    Account,
    BillingView,
    Used,
    charge_id,
    daily_id,
)
from pgfleet.workers.assignment.tools import BillingTurn
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Change,
    Done,
    Move,
    New,
    Outcome,
    Reject,
    Send,
    TryAgainError,
    Wait,
)

HOUR_PLACES = Decimal("0.000001")
COST_PLACES = Decimal("0.0001")
NO_RATE_S = 60.0


def step(message: Message, turn: BillingTurn) -> Outcome:
    """One decision about one message of BILLING."""
    match message:
        case Measure():
            return measure(turn.view)
        case MeasureCluster():
            return measure_cluster(message, turn)
        case Bill():
            return bill(turn.view)
        case BillUser():
            return bill_user(message, turn)
        case _:
            return Reject(f"{type(message).__name__} is nothing to measure or bill")


def bill(view: BillingView) -> Outcome:
    """Each day is listed once: its row is written in the commit that sends the bills of its users."""
    found = view.open_day
    if found is None:
        return Done("every day is listed")
    bills = tuple(Send({"action": "bill_user", "user_id": user, "day": found.day.isoformat()}) for user in found.users)
    again = () if found.is_last else (Send({"action": "bill"}),)
    listed = {"day": found.day, "users": len(bills)}
    return Advance((New(billed_days, None, f"{found.day} listed", listed),), (*bills, *again))


def bill_user(message: BillUser, turn: BillingTurn) -> Outcome:
    """One user's day, once it is over: what was used, what it costs, and a charge if enough is owed by now."""
    user, day = message.user_id, message.day
    account = turn.view.accounts.get((user, day))
    today = turn.now.astimezone(UTC).date()
    if day >= today:
        return Reject(f"day: {day} is not over yet")
    if today - day > BILLABLE:
        return Reject(f"day: {day} was more than {BILLABLE.days} days ago: what was used then is no longer known")
    if account is None:
        return Reject(f"user_id: there is no user {user}")
    if account.billed:
        return Done("this day was billed already")
    closes = datetime.combine(day, time(), UTC) + timedelta(days=1) + DAY_CLOSES
    if turn.now < closes:
        return Wait("the day's last slots may still be measured", closes)
    used = turn.view.used.get((user, day))
    if used is None:
        return Done("nothing was used on this day")
    return _billed(message, _rounded(used), account, turn)


def _rounded(used: Used) -> Used:
    return replace(
        used,
        seat_days=_round(used.seat_days, HOUR_PLACES),
        gpu_hours=_round(used.gpu_hours, HOUR_PLACES),
        cpu_hours=_round(used.cpu_hours, HOUR_PLACES),
        storage_gb_months=_round(used.storage_gb_months, HOUR_PLACES),
    )


def _round(number: Decimal, places: Decimal) -> Decimal:
    return number.quantize(places, ROUND_HALF_UP)


def _billed(message: BillUser, used: Used, account: Account, turn: BillingTurn) -> Outcome:
    user, day = message.user_id, message.day
    cost, currency = _cost(used, turn.view.rates)
    daily = {
        "id": daily_id(user, day),
        "user_id": user,
        "date": day,
        "cpu_hours": used.cpu_hours,
        "gpu_hours": used.gpu_hours,
        "storage_gb_months": used.storage_gb_months,
        "api_calls": 0,
        "total_cost": cost,
        "hopsworks_cluster_id": used.cluster_id,
        "seat_days": used.seat_days,
    }
    credit = turn.view.credits.get(user)
    owed = _of(credit, "total_used") + cost - _of(credit, "total_purchased") - account.pending
    charges = owed >= turn.tools.settings.charge_at and not account.charged
    charge = (_charge(user, day, owed, currency),) if charges else ()
    return Advance((New(usage_daily, None, f"{day} billed", daily), _counted(user, used, cost, credit), *charge))


def _cost(used: Used, rates: Mapping[str, Row]) -> tuple[Decimal, str]:
    """What the day costs, and in which currency. Calls are not counted yet, but have their price.

    Raises:
        TryAgainError: an operator has to put the rates right.
    """
    amounts = {
        "seat_day": used.seat_days,
        "cpu_hour": used.cpu_hours,
        "gpu_hour": used.gpu_hours,
        "storage_gb_month": used.storage_gb_months,
        "api_call": Decimal(0),
    }
    missing = sorted(amounts.keys() - rates.keys())
    if missing:
        raise TryAgainError(f"hopsworks.billing_rates has no rate for {', '.join(missing)}", NO_RATE_S)
    currencies = {rates[resource].currency for resource in amounts}
    if len(currencies) > 1:
        raise TryAgainError(
            f"hopsworks.billing_rates has several currencies: {', '.join(sorted(currencies))}", NO_RATE_S
        )
    cost = sum((rates[resource].price * amount for resource, amount in amounts.items()), Decimal(0))
    return _round(cost, COST_PLACES), currencies.pop()


def _of(credit: Row | None, column: str) -> Decimal:
    return Decimal(0) if credit is None else credit[column] or Decimal(0)


def _counted(user: str, used: Used, cost: Decimal, credit: Row | None) -> Change:
    """The user's totals of all days, with this one."""
    values: dict[str, Any] = {
        "total_used": _of(credit, "total_used") + cost,
        "cpu_hours_used": _of(credit, "cpu_hours_used") + used.cpu_hours,
        "gpu_hours_used": _of(credit, "gpu_hours_used") + used.gpu_hours,
        "storage_gb_months": _of(credit, "storage_gb_months") + used.storage_gb_months,
    }
    if credit is None:
        return New(user_credits, None, "first bill", {"user_id": user, **values})
    return Move(credit, None, values=values)


def _charge(user: str, day: date, owed: Decimal, currency: str) -> New:
    """For the payment service; while it is pending, it counts as paid."""
    values = {
        "id": charge_id(user, day),
        "user_id": user,
        "amount": owed,
        "currency": currency,
        "description": f"usage up to {day}",
        "status": "pending",
    }
    return New(billing_history, None, "charged", values)
