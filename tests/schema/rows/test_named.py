"""Statements in `.sql` files: each is accepted by psql and psycopg, is asked for, and says what it returns."""

import re
from pathlib import Path

import pytest

from pgfleet.schema.rows.named import named
from worlds.database import Connection, by_psql
from worlds.fleet import REPOSITORY

PLACES = ("schema", "producers", "workers", "console")
ASKED_FOR = re.compile(r'"(\w+)"')
# Whose statements a module asks for, unless they are those of `queries.sql`.
FILE = re.compile(r'\bnamed\(__package__, "(\w+)"\)')


def statement_files() -> list[Path]:
    """Those that are not numbered: beside who uses them."""
    found = [path for place in PLACES for path in sorted((REPOSITORY / place).rglob("*.sql"))]
    return [path for path in found if not path.name[0].isdigit()]


def package_of(path: Path) -> str:
    return ".".join(("pgfleet", *path.relative_to(REPOSITORY).parent.parts))


FILES = pytest.mark.parametrize("path", statement_files(), ids=lambda path: str(path.relative_to(REPOSITORY)))


@FILES
def test_psql_runs_every_statement(dsn: str, path: Path) -> None:
    text = path.read_text("utf-8")
    parameters = sorted(set(re.findall(r"(?<![:\w]):([a-z_]+)", text)))
    # A plan is made of each, and nothing is done.
    explained = re.sub(r"(?m)(^-- name: \w+\n(?:--.*\n)*)", r"\1explain ", text)

    by_psql(dsn, "".join(f"\\set {name} null\n" for name in parameters) + explained)


@FILES
def test_psycopg_takes_every_statement(conn: Connection, path: Path) -> None:
    for statement in named(package_of(path), path.stem).values():
        parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.decode()))
        conn.execute(b"explain " + statement, parameters or None)


@FILES
def test_every_statement_is_asked_for_by_a_neighbour_and_every_one_asked_for_is_there(path: Path) -> None:
    modules = [module.read_text("utf-8") for module in path.parent.glob("*.py")]
    modules = [text for text in modules if path.stem in (FILE.findall(text) or ["queries"])]
    asked = {name for text in modules for name in re.findall(r'SQL\["(\w+)"\]', text)}
    by_variable = any(re.search(r"SQL\[[a-z_]+\]", text) for text in modules)
    mentioned = {name for text in modules if by_variable for name in ASKED_FOR.findall(text)}
    there = named(package_of(path), path.stem).keys()

    assert asked - there == set()
    assert there - asked - mentioned == set()


@FILES
def test_every_statement_says_what_it_returns(path: Path) -> None:
    heads = re.findall(r"(?m)^-- name: (\w+)\n(--)?", path.read_text("utf-8"))

    assert [name for name, said in heads if not said] == []
    assert len({name for name, _ in heads}) == len(heads)


def test_one_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="no statement is named admit; there are now, "):
        named("pgfleet.workers.reservation")["admit"]
