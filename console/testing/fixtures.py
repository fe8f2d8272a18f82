"""The fixture for pytest. It asks for no other one, so that to import it is enough."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pgfleet.console.testing.fleet import Fleet, running
from pgfleet.console.testing.server import server

TEMPLATE = pytest.StashKey[str]()


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A fleet that works while the test runs: a database, a simulated cluster, workers. Each test has its own.

    `@pytest.mark.parametrize("fleet", [{"nodes": ["t4:1x4"]}], indirect=True)` gives what `running` takes.
    """
    with running(_template(request.config), **getattr(request, "param", {})) as started:
        yield started


def _template(config: pytest.Config) -> str:
    """The migrated database of this run of pytest: the server starts with the first test that asks for it."""
    if TEMPLATE not in config.stash:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        config.stash[TEMPLATE] = stack.enter_context(server())
    return config.stash[TEMPLATE]
