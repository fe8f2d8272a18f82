"""What every table description shares: the metadata, and short names for columns that recur."""

from typing import Any

from sqlalchemy import TIMESTAMP, Column, FetchedValue, MetaData

metadata = MetaData(schema="public")

# The default itself is written in the SQL file only; here it is known that there is one.
DEFAULT = FetchedValue()


def moment(name: str, **options: Any) -> Column[Any]:
    """A column that holds a point in time, with its zone."""
    return Column(name, TIMESTAMP(timezone=True), **options)


def utc_moment(name: str, **options: Any) -> Column[Any]:
    """A column that holds a point in time without its zone, which is UTC."""
    return Column(name, TIMESTAMP, **options)
