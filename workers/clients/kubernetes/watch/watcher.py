"""A resource, listed and then watched: whoever follows it is told what there is, and every change of it since.

    list -> watch from the list's version -> (the server ends it after a while) -> watch from where it ended -> ...
      ^                                                  |
      +-- 410: that version is forgotten; the stream fell silent; the follower could not keep what it was told; or ten
      minutes are over

The official client's `Watch` reads the stream. It does not say when a stream is open, so the call that opens it is
wrapped.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from kubernetes import watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ReadTimeoutError

from pgfleet.workers.runtime import metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAGE = 500
# The server ends a stream after so long, so one that is silent for longer has lost its connection.
STREAM_S = 30
SILENCE_S = 40.0
LIST_AGAIN_S = 600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
# Streams are opened no faster, however soon a server or a proxy ends them.
SHORTEST_STREAM_S = 1.0


class Known(Protocol):
    """What was told, as it is kept."""

    def in_touch(self) -> None:
        """The server has answered: there is nothing new but what was told."""

    def out_of_touch(self) -> None:
        """What was told may no longer be so."""


class Follower(Protocol):
    """Who is told. After whatever it raises there is a new list: it may not have kept what it was told."""

    @property
    def known(self) -> Known: ...

    def begin(self) -> None:
        """A list is about to be asked for."""

    def listed(self, things: Sequence[Any]) -> None:
        """Some of what there is, one page of the list. Whatever is held until `whole` is held of all at once."""

    def whole(self) -> None:
        """That was all: what was not among it is gone."""

    def changed(self, thing: Any) -> None:
        """One that is new, or no longer as it was."""

    def removed(self, thing: Any) -> None:
        """One that is gone, as it was last."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is followed.

    Attributes:
        model: the class of its things in the official client, such as `V1Pod`.
        listed: the client's call that lists and watches it; `where` are its arguments, such as a namespace.
    """

    name: str
    model: str
    listed: Callable[..., Any]
    where: tuple[str, ...] = ()
    selector: str | None = None


class Watcher(threading.Thread):
    """Follows a resource until it is stopped, which takes a moment."""

    def __init__(self, resource: Resource, follower: Follower, timeout_s: float) -> None:
        super().__init__(name=f"watch-{resource.name}", daemon=True)
        self.resource = resource
        self.follower = follower
        self.timeout_s = timeout_s
        self.stopping = threading.Event()
        self._version: str | None = None
        self._list_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._is_away: bool | None = None
        self._stream: watch.Watch | None = None

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                if self._version is None or time.monotonic() > self._list_at:
                    self._list()
                else:
                    self._watch()
            except Exception as error:  # noqa: BLE001  # whatever it is, a watch that ended would be missed by nobody
                self._recover(error)

    def stop(self) -> None:
        self.stopping.set()
        if self._stream is not None:
            self._stream.stop()  # type: ignore[no-untyped-call]

    def _list(self) -> None:
        self._version = None
        self.follower.begin()
        for page in self._pages():
            self.follower.listed(page.items)
            version = page.metadata.resource_version
            if self.stopping.is_set():
                return
        self.follower.whole()
        self._version = version
        # Not all workers at once.
        self._list_at = time.monotonic() + LIST_AGAIN_S * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        self._in_touch()

    def _pages(self) -> Iterator[Any]:
        more: str | None = None
        while True:
            page = self.resource.listed(
                *self.resource.where,
                label_selector=self.resource.selector,
                limit=PAGE,
                _continue=more,
                _request_timeout=self.timeout_s,
            )
            yield page
            more = page.metadata.var_continue
            if not more:
                return

    def _watch(self) -> None:
        began = time.monotonic()
        self._stream = watch.Watch(self.resource.model)  # type: ignore[no-untyped-call]
        wanted = {"label_selector": self.resource.selector, "resource_version": self._version}
        for event in self._stream.stream(self._opened, **wanted, timeout_seconds=STREAM_S):  # type: ignore[no-untyped-call]
            if self.stopping.is_set():
                return
            if event is not None:
                self._take(event["type"], event["object"], self._stream.resource_version)
        self._in_touch()
        self.stopping.wait(max(0.0, began + SHORTEST_STREAM_S - time.monotonic()))

    def _opened(self, **wanted: Any) -> Any:
        """The open stream. Its silence is limited, and a connection that is gone is told by keepalive, too."""
        stream = self.resource.listed(
            *self.resource.where,
            **wanted,
            allow_watch_bookmarks=True,
            _request_timeout=(self.timeout_s, SILENCE_S),
        )
        if stream.status == HTTPStatus.OK:
            self._in_touch()
        return stream

    def _take(self, kind: str, thing: Any, version: str | None) -> None:
        self._version = None  # until it is kept
        if kind == "DELETED":
            self.follower.removed(thing)
        elif kind != "BOOKMARK":
            self.follower.changed(thing)
        self._version = version
        self._in_touch()

    def _in_touch(self) -> None:
        self.follower.known.in_touch()
        self._pause_s = FIRST_PAUSE_S
        if self._is_away is not False:
            self._is_away = False
            metrics.WATCH_CONNECTED.labels(self.resource.name).set(1)
            log.info("watch.connected", resource=self.resource.name)

    def _recover(self, error: Exception) -> None:
        if self.stopping.is_set():
            return
        self.follower.known.out_of_touch()
        if isinstance(error, ApiException) and error.status == HTTPStatus.GONE:
            self._version = None
            # A server that forgets at once is not asked without end.
            self.stopping.wait(FIRST_PAUSE_S)
            return
        if isinstance(error, ReadTimeoutError):
            # Nobody knows what a stream that should have ended long ago has left out.
            self._version = None
        metrics.WATCH_CONNECTED.labels(self.resource.name).set(0)
        if self._is_away is not True:
            self._is_away = True
            # Said once: it is tried again until it is answered, and rows are looked at in turn meanwhile.
            log.warning("watch.unanswered", resource=self.resource.name, reason=_in_short(error))
        self.stopping.wait(self._pause_s * random.uniform(0.5, 1))  # noqa: S311  # no secret
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def _in_short(error: Exception) -> str:
    if isinstance(error, ApiException):
        return f"Kubernetes answered {error.status} {error.reason or ''}".strip()
    return f"{type(error).__name__}: {error}"[:300]
