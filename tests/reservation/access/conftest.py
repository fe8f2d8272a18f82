"""The database of the worker is that of the commands."""

import pytest


@pytest.fixture
def fleet_dsn(dsn: str) -> str:
    return dsn
