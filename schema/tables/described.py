"""Tables for statements in Python, made from what `needed.json` says of a migrated database (`make generated`)."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pgfleet.schema.database.needed import PRIMARY_KEY, needed

metadata = sa.MetaData(schema="public")


class Xid8(sa.types.UserDefinedType[str]):
    """The number of a transaction (`pg_current_xact_id()`), as text: SQLAlchemy does not know the type."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


postgresql.base.ischema_names["xid8"] = Xid8

_TYPES: dict[str, type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]] = {
    "bigint": sa.BigInteger,
    "boolean": sa.Boolean,
    "date": sa.Date,
    "double precision": sa.Double,
    "integer": sa.Integer,
    "interval": sa.Interval,
    "jsonb": postgresql.JSONB,
    "numeric": sa.Numeric,
    "real[]": sa.ARRAY(sa.REAL),
    "text": sa.Text,
    "text[]": sa.ARRAY(sa.Text),
    "timestamp with time zone": sa.TIMESTAMP(timezone=True),
    "timestamp without time zone": sa.TIMESTAMP,
    "uuid": postgresql.UUID,
    "uuid[]": sa.ARRAY(postgresql.UUID),
    "xid8": Xid8,
}


def described(name: str, **info: Any) -> sa.Table:
    """A table by its name with its schema: every column with its type, and the primary key.

    `info` is what the program has to know besides: `machine`, where that is not called as its kind, and `shows`, the
    column that tells people why a row waits. Its `place` is after those of the tables that it refers to.
    """
    if name not in needed():
        raise LookupError(f"{name} is not in schema/database/needed.json: run make generated")
    schema, _, own_name = name.partition(".")
    columns = [_column(*column) for column in needed()[name].items()]
    place = list(needed()).index(name)
    return sa.Table(own_name, metadata, *columns, schema=schema, info={"place": place, **info})


def _column(name: str, text: str) -> sa.Column[Any]:
    is_key = text.endswith(PRIMARY_KEY)
    kind = _type(text.removesuffix(PRIMARY_KEY))
    # Whoever inserts a row without its key leaves that to the database.
    return sa.Column(name, kind, primary_key=is_key, server_default=sa.FetchedValue() if is_key else None)


def _type(text: str) -> Any:
    if text.startswith("character varying"):
        return sa.String
    if text in _TYPES:
        return _TYPES[text]
    schema, _, name = text.rpartition(".")
    return postgresql.ENUM(name=name, schema=schema, create_type=False)
