"""The doctor's examination: in a large fleet it lasts, so it runs beside requests, once for all who want to know."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.doctor.findings import Finding
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import speaking_for

# A check may take 30 s, which the server minds itself.
LONGEST_S = 40.0
# What is younger is shown as it is.
YOUNG = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, and when it was complete."""

    findings: list[Finding]
    at: datetime


class Examining:
    """One examination at a time, in a session and a thread of its own.

    Attributes:
        last: the last that came to its end.
    """

    def __init__(self, dsn: str) -> None:
        self.last: Examined | None = None
        self._dsn = dsn
        self._lock = threading.Lock()
        self._running: Future[Examined] | None = None

    def begun(self, principal: Principal) -> Future[Examined]:
        """The one that runs, or a new one as this principal sees the database.

        It raises what it failed with: psycopg.Error, or FleetError where there is no session.
        """
        with self._lock:
            if self._running is None or self._running.done():
                self._running = Future()
                new = threading.Thread(target=self._run, args=(self._running, principal), name="examining", daemon=True)
                new.start()
            return self._running

    def looked(self, principal: Principal) -> Future[Examined] | None:
        """None where the last one is young; else the one that runs or begins now, or one that has failed, once."""
        if self.last is not None and datetime.now(UTC) - self.last.at < YOUNG:
            return None
        with self._lock:
            failed = self._running
            if failed is not None and failed.done() and failed.exception():
                self._running = None
                return failed
        return self.begun(principal)

    def _run(self, running: Future[Examined], principal: Principal) -> None:
        try:
            with (
                open_session(self._dsn, autocommit=True, longest_s=LONGEST_S, application_name="pgfleet serve") as conn,
                speaking_for(conn, principal),
            ):
                found = examine(conn)
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            running.set_exception(error)
            return
        self.last = Examined(found, datetime.now(UTC))
        running.set_result(self.last)
