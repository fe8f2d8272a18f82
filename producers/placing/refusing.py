"""What the database says where a row can't be placed, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgfleet.schema.errors import Refusal

NOT_THEIRS, USED = "PF013", "PF015"


class IdUsedError(Refusal):
    """The id was used for something else."""


class NotTheirsError(Refusal):
    """Who asks may not ask for this user."""


@contextmanager
def refusals() -> Iterator[None]:
    """Raises what is known of a refusal within the block; any other error goes on as it is."""
    try:
        yield
    except psycopg.Error as error:
        known = {NOT_THEIRS: NotTheirsError, USED: IdUsedError}.get(error.sqlstate or "")
        if known is None:
            raise
        raise known(error.diag.message_primary or "") from None
