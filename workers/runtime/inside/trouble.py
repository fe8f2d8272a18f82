"""What keeps loops from going on in the database: told once until it changes, and tried less and less often."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
import structlog

from pgfleet.schema.printable import second
from pgfleet.workers.runtime.inside.opening import in_words

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FIRST_PAUSE_S = 0.2
# A server that is back is to be noticed at once; one that answers and refuses has to be mended by somebody.
AWAY_MOST_S, READ_ONLY_MOST_S, REFUSED_MOST_S = 1.0, 2.0, 30.0
# What nobody has tried for so long after its pause may work by now: it says nothing of how things are.
UNTRIED_S = 120.0
# Where some of what is asked succeeds, and some is refused all the while, it is not told each time.
TOLD_AGAIN_S = 60.0
# Nobody can read here, or there is nothing to read: it is the program's trouble, not that of any message.
LACKING = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)
# A type that is not there, as in the middle of a migration; what the server can't do, or has found broken. It may be
# about some rows only; what LACKING names keeps a whole queue waiting.
OF_THE_DATABASE = (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedObject, psycopg.InternalError)
# No message is to blame for any of these.
NOBODYS = (*LACKING, *OF_THE_DATABASE)
HOW_TO_GRANT = (
    "as the owner of the database: select public.grant_fleet_roles(); grant pgfleet_worker_<kind> to <the login>"
)
HOW_TO_MIGRATE = "run `pgfleet doctor`, and `pgfleet migrate` where it says so"


@dataclass(slots=True)
class _Met:
    since: datetime
    text: str
    pause_s: float
    until: float
    times: int = 1
    told: set[str] = field(default_factory=set)


class Trouble:
    """The troubles of one queue in this process, by what it was doing; safe to use from every thread."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}
        self._told_at: dict[tuple[str, str], float] = {}

    def met(self, doing: str, error: Exception) -> float:
        """Note what has failed, and tell it unless that has been done; the seconds until it is to be tried again."""
        text, most_s = in_words(error), _longest_s(error)
        with self._lock:
            met = self._met.get(doing)
            if met is None:
                met = self._met[doing] = _Met(datetime.now(UTC), text, _first_s(error), 0.0)
            else:
                met.times += 1
                met.pause_s = min(max(2 * met.pause_s, FIRST_PAUSE_S), most_s)
            met.text, met.until = text, time.monotonic() + met.pause_s
            tell = self._is_to_be_told(doing, met, text)
        if tell:
            self._tell(doing, error, text)
        return met.pause_s

    def over(self, doing: str) -> None:
        """It has succeeded."""
        if doing not in self._met:
            return
        with self._lock:
            met = self._met.pop(doing, None)
        if met is not None and met.told:
            log.warning("database.works", queue=self.queue, doing=doing, times=met.times, since=second(met.since))

    def pause_s(self) -> float:
        """For how long it makes no sense to claim."""
        with self._lock:
            return max((met.until - time.monotonic() for met in self._met.values()), default=0.0)

    def problems(self) -> list[str]:
        """What does not work now, in words."""
        tried_since = time.monotonic() - UNTRIED_S
        with self._lock:
            return [
                f"{self.queue}: can't {doing} since {second(met.since)}, {met.times} times: {met.text}"
                for doing, met in self._met.items()
                if met.until > tried_since
            ]

    def _is_to_be_told(self, doing: str, met: _Met, text: str) -> bool:
        """Whether it is told for the first time since all was well; not so soon after the last time."""
        now = time.monotonic()
        if text in met.told or now < self._told_at.get((doing, text), -TOLD_AGAIN_S) + TOLD_AGAIN_S:
            return False
        met.told.add(text)
        self._told_at = {told: at for told, at in self._told_at.items() if now < at + TOLD_AGAIN_S}
        self._told_at[doing, text] = now
        return True

    def _tell(self, doing: str, error: Exception, text: str) -> None:
        if is_away(error):
            log.warning("database.unreachable", queue=self.queue, doing=doing, error=text)
        elif isinstance(error, psycopg.Error):
            log.error("database.refuses", queue=self.queue, doing=doing, error=text, **_advice(error))
        else:
            log.error("worker.failed", queue=self.queue, doing=doing, exc_info=error)


def is_away(error: Exception) -> bool:
    """Whether no server answers, or one that is starting or stopping; what a server refuses has a code of its own."""
    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (state is None or state[:2] in ("08", "57"))


def _first_s(error: Exception) -> float:
    # Where one session was ended, another one is as good.
    return 0.0 if is_away(error) else FIRST_PAUSE_S


def _longest_s(error: Exception) -> float:
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        # It was primary once; the new one may be there already.
        return READ_ONLY_MOST_S
    return AWAY_MOST_S if is_away(error) else REFUSED_MOST_S


def _advice(error: psycopg.Error) -> dict[str, str]:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return {"code": error.sqlstate or "", "advice": HOW_TO_GRANT}
    if isinstance(error, LACKING):
        return {"code": error.sqlstate or "", "advice": HOW_TO_MIGRATE}
    return {"code": error.sqlstate or ""}
