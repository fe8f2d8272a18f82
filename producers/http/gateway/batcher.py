"""Sends heartbeats of nodes in batches on one held connection, and tells each node whether its configuration is old.

    submit -> checked by itself -> waits a few ms -> one statement for all that came -> each its answer

Nobody waits for longer than the deadline, whatever hangs, and no more wait than the limits say. A batch whose answer
was lost is sent again: a heartbeat counts once by its id.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import psycopg

from pgfleet.producers.http.gateway import bodies
from pgfleet.producers.http.gateway.waiting import Busy, Limits, Line, Unanswered, Waiting
from pgfleet.producers.http.health.metrics import BATCHES
from pgfleet.producers.http.sessions import APPLICATION
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.schema.database.dsn import redact
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.messages import CONTRACT, BadMessage
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.schema.settings import Settings

SQL = named(__package__)
# Between two tries of a batch, while the database is away.
RETRY_S = 0.1
# Trouble is believed for so long after the last try: whoever is let alone for it would not try again.
BELIEVED_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a node is answered (seed 002); `new_config` is there where it should run another configuration."""

    status: Literal["success"]
    config_update_needed: bool
    current_config_hash: str | None
    new_config: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Batcher:
    """The gateway of a process: any number of threads submit, one sends."""

    def __init__(self, open_one: Callable[[], Connection], limits: Limits | None = None) -> None:
        self._open_one = open_one
        self._conn: Connection | None = None
        self._trouble: str | None = None
        self._trouble_at = 0.0
        self._line = Line(limits or Limits())
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("gateway-send", self._send_all), ("gateway-expire", self._expire_all))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, node: str, body: Any) -> "Future[Reply]":
        """Send a heartbeat of a node that was proven: its number, or the id of a cluster's node.

        Returns:
            A future that ends within the deadline: with the Reply once the heartbeat is on disk, or with BadMessage,
            NotItsOwn (another node's), Refusal (no such node), Busy or Unanswered.
        """
        future: Future[Reply] = Future()
        try:
            self._line.put(Waiting(node, bodies.text_of(node, body), future))
        except FleetError as error:
            future.set_exception(error)
        return future

    def lacking(self) -> list[str]:
        """Why nothing can be sent, in words; nothing while all is well, or once nobody has tried for a while."""
        trouble, age_s = self._trouble, time.monotonic() - self._trouble_at
        return [f"the heartbeat gateway: {trouble}"] if trouble is not None and age_s < BELIEVED_S else []

    @property
    def waiting(self) -> int:
        return len(self._line)

    def close(self) -> None:
        """Take no more, send what waits, within the deadline."""
        self._line.close()
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expire_all(self) -> None:
        while (late := self._line.overdue()) is not None:
            reason = self._trouble or "it has not answered yet"
            for one in late:
                one.refuse(Unanswered(f"the heartbeat was not written down in time; the database: {reason}"))

    def _send_all(self) -> None:
        try:
            while (batch := self._line.take()) is not None:
                BATCHES.observe(len(batch))
                self._send(batch)
                self._line.done(batch)
        finally:
            # Whatever ends this thread: nobody is let wait for it.
            self._line.close()
            self._lose()

    def _send(self, batch: Sequence[Waiting]) -> None:
        """Until all of them have ended, be it by the deadline."""
        while left := [one for one in batch if not one.future.done()]:
            try:
                rows = self._ask(left)
            except psycopg.DataError:
                self._send_apart(left)
            except psycopg.Error as error:
                self._trouble_at = time.monotonic()
                self._trouble = redact(str(error)).strip().partition("\n")[0]
                self._lose()
                self._ending.wait(RETRY_S)
            else:
                self._trouble = None
                _answer(left, rows)

    def _send_apart(self, batch: Sequence[Waiting]) -> None:
        """Halves, until what the database can't read stands alone: its neighbours are sent."""
        if len(batch) == 1:
            batch[0].refuse(BadMessage("the body holds a value that the database can't keep"))
            return
        middle = len(batch) // 2
        self._send(batch[:middle])
        self._send(batch[middle:])

    def _ask(self, batch: Sequence[Waiting]) -> list[tuple[Any, ...]]:
        if self._conn is None:
            self._conn = self._open_one()
        given = {
            "bodies": f"[{b','.join(one.text for one in batch).decode()}]",
            "nodes": [one.node for one in batch],
            "contract": CONTRACT,
        }
        return self._conn.execute(SQL["send"], given).fetchall()

    def _lose(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def _answer(batch: Sequence[Waiting], rows: Sequence[tuple[Any, ...]]) -> None:
    """The text of a configuration comes with the first node that needs it, and is the others' as well."""
    texts: dict[str, str] = {}
    for one, (_, refused, config_hash, needed, text) in zip(batch, rows, strict=True):
        if refused is not None:
            one.refuse(Refusal(refused))
            continue
        if text is not None:
            texts[config_hash] = text
        one.answer(Reply("success", needed, config_hash, texts[config_hash] if needed else None))


@contextmanager
def gateway_of(settings: Settings, serving: ServeSettings) -> Iterator[Batcher]:
    """The gateway of a service, on a session of its own."""
    limits = Limits(window_s=serving.heartbeat_window_s, deadline_s=serving.heartbeat_deadline_s)

    def open_one() -> Connection:
        return open_session(
            settings.dsn(),
            autocommit=True,
            writes=True,
            longest_s=limits.deadline_s,
            # Whole seconds, and libpq takes 1 for 2.
            connect_timeout=max(2, round(limits.deadline_s)),
            application_name=APPLICATION,
        )

    with Batcher(open_one, limits) as batcher:
        yield batcher


__all__ = ["Batcher", "Busy", "Limits", "Reply", "Unanswered", "gateway_of"]
