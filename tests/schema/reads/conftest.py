"""Rows of two people, of everything that is read, for the modules that ask for them."""

from collections.abc import Iterator

import psycopg
import pytest

from worlds.api.rows import ReadWorld, read_world
from worlds.database import fresh_database


@pytest.fixture(scope="module", params=[False, True], ids=["everybody's rows", "row level security"])
def world(request: pytest.FixtureRequest, server_dsn: str, template: str) -> Iterator[ReadWorld]:
    with (
        fresh_database(server_dsn, template) as dsn,
        psycopg.connect(dsn, autocommit=True) as owner,
        read_world(dsn, owner, rls=request.param) as made,
    ):
        yield made
