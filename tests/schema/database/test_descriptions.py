"""The tables that Python describes are as the SQL files make them, column by column, in both directions."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pgfleet.schema import tables
from pgfleet.schema.tables.metadata import metadata

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
        ("public.disks", "disk_name", "alter column disk_name drop not null", "null"),
        ("public.disks", "created_at", "alter column created_at drop default", "default"),
        ("public.disks", "reservation_id", "drop constraint disks_reservation_id_fkey", "references"),
        ("public.disks", "unique", "drop constraint disks_user_id_disk_name_key", "unique"),
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
    facts = {
        f"column {column.name}": column_text(
            column.type, nullable=bool(column.nullable), default=column.server_default is not None
        )
        for column in table.columns
    }
    facts["primary key"] = names(column.name for column in table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            facts[f"unique ({names(column.name for column in constraint.columns)})"] = "unique"
        if isinstance(constraint, sa.ForeignKeyConstraint):
            target = [element.column for element in constraint.elements]
            facts[f"column {names(constraint.column_keys)} references"] = (
                f"references {target[0].table.fullname} ({names(column.name for column in target)})"
                f" on delete {constraint.ondelete}"
            )
    return facts


def made(inspector: sa.Inspector, table: sa.Table) -> Facts:
    name, schema = table.name, table.schema
    facts = {
        f"column {column['name']}": column_text(
            column["type"],
            nullable=column["nullable"],
            default=any(column.get(kind) for kind in ("default", "identity", "computed")),
        )
        for column in inspector.get_columns(name, schema)
    }
    facts["primary key"] = names(inspector.get_pk_constraint(name, schema)["constrained_columns"])
    for unique in inspector.get_unique_constraints(name, schema):
        facts[f"unique ({names(unique['column_names'])})"] = "unique"
    for key in inspector.get_foreign_keys(name, schema):
        facts[f"column {names(key['constrained_columns'])} references"] = (
            f"references {key['referred_schema'] or 'public'}.{key['referred_table']}"
            f" ({names(key['referred_columns'])}) on delete {key['options'].get('ondelete')}"
        )
    return facts


def column_text(kind: sa.types.TypeEngine[object], *, nullable: bool, default: bool) -> str:
    text = kind.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return f"{text}, {'null' if nullable else 'not null'}, {'a' if default else 'no'} default"


def names(columns: Iterable[str | None]) -> str:
    """Sorted: the order in a key is a matter of speed, and the SQL file's."""
    return ", ".join(sorted(filter(None, columns)))
