"""What a step asks to be written has the Python types of its columns.

PostgreSQL takes a word for a UUID, and the row that it makes has another key than the step believes: it would be made
again and again. A time without a zone would be one of whatever zone the session has.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.rows.kernel import key_column
from pgfleet.workers.runtime.outcomes import Advance, Change, New, Outcome, Reject, Send, Wait

_NUMBERS = {int: (int,), float: (float, int, Decimal), Decimal: (Decimal, int, float)}


def refuse_unfit(outcome: Outcome) -> None:
    """Raises TypeError: a value is of another type than its column or time, or a row is changed twice; and which."""
    if isinstance(outcome, (Advance, Wait, Reject)):
        for change in outcome.changes:
            _refuse_change(change)
        _refuse_twice(outcome.changes)
    if isinstance(outcome, Wait):
        _refuse_time("until", outcome.until)
    for send in getattr(outcome, "then", ()):
        _refuse_send(send)


def _refuse_twice(changes: Sequence[Change]) -> None:
    """Only one of them would be written."""
    if len(changes) > 1:
        places = Counter((change.table.name, str(change.key)) for change in changes)
        for (table, key), times in places.items():
            if times > 1:
                raise TypeError(f"{times} changes of one row of {table}: {key}")


def _refuse_change(change: Change) -> None:
    # Nearly all values are of one exact type: asked for each, it is a tenth of what asking in full costs.
    exact = _exact(change.table)
    for name, value in change.values.items():
        if type(value) not in exact.get(name, ()) and not _fits(change.table, name, value):
            raise TypeError(f"{change.table.name}.{name} can't be {_shown(value)}")
    if isinstance(change, New) and change.values.get(key_column(change.table).name) is None:
        raise TypeError(f"a new row of {change.table.name} needs its {key_column(change.table).name}")


@cache
def _exact(table: sa.Table) -> dict[str, tuple[type, ...]]:
    """The types that fit each column whatever their value is."""
    named = {column.name: _types(table, column.name) or () for column in table.columns}
    return {name: tuple(fitting for fitting in types if fitting is not datetime) for name, types in named.items()}


def _refuse_send(send: Send) -> None:
    if send.at is not None:
        _refuse_time("a message's time", send.at)


def _refuse_time(name: str, value: Any) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{name} can't be {_shown(value)}: it is a time with its zone")


def _fits(table: sa.Table, name: str, value: Any) -> bool:
    if value is None:
        return True
    fitting = _types(table, name)
    if fitting is None:
        return True
    if isinstance(value, bool):
        return bool in fitting
    if isinstance(value, datetime):
        return datetime in fitting and (value.tzinfo is not None) == _has_zone(table, name)
    return isinstance(value, fitting)


@cache
def _types(table: sa.Table, name: str) -> tuple[type, ...] | None:
    """The Python types that fit a column; None for any."""
    column = table.columns[name]
    if isinstance(column.type, sa.JSON):
        return None
    try:
        python_type: type = column.type.python_type
    except NotImplementedError:
        return None
    return _NUMBERS.get(python_type, (python_type,))


@cache
def _has_zone(table: sa.Table, name: str) -> bool:
    return bool(getattr(table.columns[name].type, "timezone", False))


def _shown(value: Any) -> str:
    """The type alone: a value may be a secret."""
    return f"a {type(value).__name__}"
