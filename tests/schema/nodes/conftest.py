"""One database for all, with a node and its pools; the owner, and the login of the API that speaks for somebody."""

from collections.abc import Iterator

import psycopg
import pytest

from worlds.api.login import serving_dsn
from worlds.database import Connection, fresh_database
from worlds.heartbeats import Heart, heart_in


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        yield running


@pytest.fixture
def heart(module_heart: Heart) -> Heart:
    return module_heart.clean()


@pytest.fixture(scope="module")
def api_dsn(module_heart: Heart) -> Iterator[str]:
    with serving_dsn(module_heart.dsn) as dsn:
        yield dsn


@pytest.fixture
def api(api_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(api_dsn, autocommit=True) as conn:
        yield conn
