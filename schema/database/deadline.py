"""Sessions on which no wait for the server lasts for ever: a proxy or a server may hang while its kernel answers."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

RV = TypeVar("RV")

# Beyond the statement_timeout, at which a server that lives would have answered.
GRACE_S = 10.0
LONGEST_S = 60.0
_LOOK_S = 0.1


class Silent(psycopg.OperationalError):
    """The server has said nothing for so long that it won't; the session is closed."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed here when the server is silent for too long; then everything on it raises.

    Attributes:
        longest_s: how long one wait may last, whatever for: an answer, a commit, a pipeline, rows of a COPY. None where
            a statement may take any time.
    """

    longest_s: float | None = LONGEST_S

    def wait(self, gen: PQGen[RV], interval: float = _LOOK_S, timeout: float | None = None) -> RV:
        """All of psycopg waits here, but for a connection: that has its `connect_timeout`.

        Raises:
            Silent: the session is closed, without a word to the server.
        """
        if timeout is not None:
            # Whoever waits for notifications expects that none may come.
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.longest_s)
        except _WaitTimeout:
            self.close()
            raise Silent(f"the server has said nothing for {self.longest_s:.0f} s") from None
