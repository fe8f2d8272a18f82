"""The HTTP API on one database for a module of tests, as the nodes' endpoints leave one another's rows alone."""

from collections.abc import Iterator

import httpx
import pytest

from worlds.api.server import Api, api_on
from worlds.database import fresh_database


@pytest.fixture(scope="module")
def shared(server_dsn: str, template: str) -> Iterator[Api]:
    with fresh_database(server_dsn, template) as dsn, api_on(dsn) as running:
        yield running


@pytest.fixture
def ops(shared: Api) -> Iterator[httpx.Client]:
    """A client in the role DEVOPS; the audit is empty."""
    with shared.as_user("ops", "DEVOPS") as client:
        shared.conn.execute("truncate autoscaler.audit_logs")
        yield client


@pytest.fixture
def ada(shared: Api) -> Iterator[httpx.Client]:
    with shared.as_user("ada") as client:
        yield client
