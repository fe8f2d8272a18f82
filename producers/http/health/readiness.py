"""Whether requests would be answered: looked at by a thread of its own, so that asking costs nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import structlog

from pgfleet.producers.http.health.ending import Ending
from pgfleet.schema.database.dsn import redact
from pgfleet.schema.database.missing import stopping
from pgfleet.schema.database.pool import Pool

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_EVERY_S = 1.0
SCHEMA_EVERY_S = 30.0
# What was asked for a session and a statement answers, or is given up, a little later.
GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Lack:
    """What is lacking, for whoever asks; why, for operators: it may name hosts and logins."""

    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


ENDS = Lack("this process ends")


class Readiness:
    """The last look, and whether it ended in time.

    Args:
        gateway: why no heartbeats can be sent, in words.
        timeout_s: how long a session of the pool is waited for.
    """

    def __init__(
        self,
        pool: Pool,
        gateway: Callable[[], list[str]],
        ending: Ending,
        timeout_s: float,
        schema_every_s: float = SCHEMA_EVERY_S,
    ) -> None:
        self._pool = pool
        self._gateway = gateway
        self._ending = ending
        self._timeout_s = timeout_s
        self._schema_every_s = schema_every_s
        # The schema was looked at when the sessions were opened.
        self._schema: list[Lack] = []
        self._schema_at = time.monotonic()
        self._seen: list[Lack] = []
        self._looking_since: float | None = None
        self._stopping = threading.Event()

    def lacks(self) -> list[Lack]:
        """What is lacking; nothing while requests are answered."""
        if self._ending.has_begun:
            return [ENDS]
        since, limit_s = self._looking_since, self._timeout_s + GRACE_S
        if since is not None and time.monotonic() - since > limit_s:
            return [Lack(f"the database has not answered within {limit_s:g} s")]
        return self._seen

    def look(self) -> None:
        self._looking_since = time.monotonic()
        lacks = [*self._of_database(), *(Lack("heartbeats can't be sent", why) for why in self._gateway())]
        self._looking_since = None
        before, self._seen = self._seen, lacks
        if lacks and not before:
            log.warning("http.not_ready", lacking=[str(lack) for lack in lacks])
        elif before and not lacks:
            log.info("http.ready")

    def _of_database(self) -> list[Lack]:
        try:
            with self._pool.connection(self._timeout_s) as conn:
                conn.execute("select 1")
                if time.monotonic() - self._schema_at >= self._schema_every_s:
                    self._schema = [Lack("the schema is not as this version needs it", lack) for lack in stopping(conn)]
                    self._schema_at = time.monotonic()
        except psycopg.Error as error:
            return [Lack("the database does not answer", redact(str(error)).strip().partition("\n")[0])]
        return self._schema

    @contextmanager
    def kept(self) -> Iterator["Readiness"]:
        """Look now, and then every second until the end of the block."""
        self.look()
        thread = threading.Thread(target=self._run, name="readiness", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join(self._timeout_s + GRACE_S)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            self.look()
