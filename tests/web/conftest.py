"""The dashboard on a database of its own."""

from collections.abc import Iterator

import pytest

from worlds.web.site import Site, site_on


@pytest.fixture
def site(dsn: str) -> Iterator[Site]:
    with site_on(dsn) as running:
        yield running
