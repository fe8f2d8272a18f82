"""What forks the processes that the tests of a module kill."""

from collections.abc import Iterator

import pytest

from crashes.nursery import Nursery, nursery


@pytest.fixture(scope="module")
def forks() -> Iterator[Nursery]:
    with nursery() as running:
        yield running
