"""The tables that Python describes are as the SQL files make them, column by column, in both directions."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pgfleet.schema import tables
from pgfleet.schema.tables.described import metadata

Facts = dict[str, str]
MODULES = [import_module(f"{tables.__name__}.{found.name}") for found in iter_modules(tables.__path__)]


@pytest.fixture
def inspector(dsn: str) -> Iterator[sa.Inspector]:
    engine = sa.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as conn:
        yield sa.inspect(conn)
    engine.dispose()


@pytest.mark.parametrize("name", sorted(metadata.tables))
def test_a_description_agrees_with_its_table(inspector: sa.Inspector, name: str) -> None:
    table = metadata.tables[name]

    differences = list(compare(described(table), made(inspector, table)))

    assert not differences, f"{name}:\n" + "\n".join(differences)


@pytest.mark.parametrize(
    ("name", "column", "change", "told"),
    [
        ("public.disks", "size_gb", "drop column size_gb", "missing in the database"),
        ("public.disks", "novel", "add column novel text", "not described"),
        ("public.disks", "size_gb", "alter column size_gb type bigint", "BIGINT"),
        ("public.disks", "primary key", "drop constraint disks_pkey cascade", "primary key"),
    ],
)
def test_any_difference_is_told(inspector: sa.Inspector, name: str, column: str, change: str, told: str) -> None:
    table = metadata.tables[name]

    inspector.bind.execute(sa.text(f"alter table {name} {change}"))  # type: ignore[union-attr]
    inspector.clear_cache()

    (difference,) = compare(described(table), made(inspector, table))
    assert column in difference
    assert told in difference


def compare(python: Facts, database: Facts) -> Iterator[str]:
    for thing in sorted(python.keys() | database.keys()):
        if thing not in database:
            yield f"  {thing}: missing in the database, described as {python[thing]}"
        elif thing not in python:
            yield f"  {thing}: not described, in the database {database[thing]}"
        elif python[thing] != database[thing]:
            yield f"  {thing}: described as {python[thing]}, in the database {database[thing]}"


def described(table: sa.Table) -> Facts:
    facts = {f"column {column.name}": type_text(column.type) for column in table.columns}
    return {**facts, "primary key": ", ".join(sorted(column.name for column in table.primary_key.columns))}


def made(inspector: sa.Inspector, table: sa.Table) -> Facts:
    name, schema = table.name, table.schema
    facts = {f"column {column['name']}": type_text(column["type"]) for column in inspector.get_columns(name, schema)}
    key = inspector.get_pk_constraint(name, schema)["constrained_columns"]
    return {**facts, "primary key": ", ".join(sorted(key))}


def type_text(kind: sa.types.TypeEngine[object]) -> str:
    """Texts of limited length are described without the limit, which the column keeps."""
    limited = isinstance(kind, sa.String) and not isinstance(kind, sa.Enum)
    return (sa.Text() if limited else kind).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
