"""Which database a command uses: DATABASE_URL, else the embedded server, which is started for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pgfleet.console.local import embedded
from pgfleet.producers.submit.database import connected
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import read_settings


def database_url() -> str:
    """The DSN to use; from now on this process and its children find it in DATABASE_URL.

    Raises:
        FleetError: DATABASE_URL can't be used, or the embedded server does not start.
    """
    settings = read_settings()
    if settings.database_url is None:
        os.environ["DATABASE_URL"] = embedded.start(embedded.default_data_dir())
    return os.environ["DATABASE_URL"]


@contextmanager
def database() -> Iterator[Connection]:
    """A connection to it, checked to have all that the program needs.

    Raises:
        Unreachable, SchemaMissing: with the next step.
    """
    with connected(database_url()) as conn:
        yield conn
