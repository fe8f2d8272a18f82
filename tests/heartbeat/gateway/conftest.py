"""A gateway on the database of the module's heart, as the API's login."""

from collections.abc import Iterator

import psycopg
import pytest

from pgfleet.producers.http.gateway.batcher import Batcher
from pgfleet.schema.database.sessions import open_session
from worlds.api.login import serving_dsn
from worlds.database import Connection
from worlds.heartbeats import Heart


@pytest.fixture(scope="module")
def api_dsn(module_heart: Heart) -> Iterator[str]:
    with serving_dsn(module_heart.dsn) as dsn:
        yield dsn


@pytest.fixture
def api(api_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(api_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def gateway(api_dsn: str, heart: Heart) -> Iterator[Batcher]:  # clean before it opens
    with Batcher(lambda: open_session(api_dsn, autocommit=True)) as batcher:
        yield batcher
