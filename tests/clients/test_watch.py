"""Following a resource: nothing is missed or taken for true that may not be, whatever becomes of the connection."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from kubernetes import client
from prometheus_client import REGISTRY

from pgfleet.console.sandbox.box import FOR_EVER, Box
from pgfleet.workers.clients.kubernetes.watch import watcher as watch
from pgfleet.workers.clients.kubernetes.watch.watcher import Resource, Watcher
from worlds.fleet import until
from worlds.outside.kubernetes import NS, Api, connected, pod

SOON_S = 120


class Notes:
    """What a follower was told, and the pods that it knows from that."""

    def __init__(self) -> None:
        self.lists = 0
        self.told: list[tuple[str, str]] = []
        self.pods: set[str] = set()
        self.is_true = False
        self.fails = 0
        self.known = self

    def begin(self) -> None:
        self.lists += 1
        self.pages: list[set[str]] = []

    def listed(self, things: Sequence[Any]) -> None:
        self.pages.append({thing.metadata.name for thing in things})

    def whole(self) -> None:
        self.pods = set().union(*self.pages)

    def changed(self, thing: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("the database is away")
        self.told.append(("changed", thing.metadata.name))
        self.pods.add(thing.metadata.name)

    def removed(self, thing: Any) -> None:
        self.told.append(("removed", thing.metadata.name))
        self.pods.discard(thing.metadata.name)

    def in_touch(self) -> None:
        self.is_true = True

    def out_of_touch(self) -> None:
        self.is_true = False


@pytest.fixture
def v1(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SHORTEST_STREAM_S", 0.02)
    monkeypatch.setattr(watch, "FIRST_PAUSE_S", 0.02)


@contextmanager
def following(v1: Api, notes: Notes) -> Iterator[Watcher]:
    """A watcher that is in touch; it is stopped in the end."""
    watcher = Watcher(Resource("pods", "V1Pod", v1.list_namespaced_pod, (NS,)), notes, 2)
    watcher.start()
    try:
        until(lambda: notes.is_true, within_s=SOON_S)
        yield watcher
    finally:
        watcher.stop()
        watcher.join(SOON_S)


def soon(condition: Callable[[], Any]) -> Any:
    return until(condition, within_s=SOON_S)


def test_what_there_is_is_told_first_and_then_every_change(v1: Api, notes: Notes) -> None:
    v1.create_namespaced_pod(NS, pod("one"))

    with following(v1, notes):
        assert notes.pods == {"one"}
        v1.create_namespaced_pod(NS, pod("two"))
        soon(lambda: notes.pods == {"one", "two"})
        v1.delete_namespaced_pod("one", NS)
        soon(lambda: notes.pods == {"two"})

    assert ("removed", "one") in notes.told
    assert notes.lists == 1


def test_of_a_long_list_no_more_than_a_page_is_held(v1: Api, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE", 2)
    names = {f"pod-{number}" for number in range(5)}
    for name in names:
        v1.create_namespaced_pod(NS, pod(name))

    with following(v1, notes):
        assert notes.pods == names

    assert [len(page) for page in notes.pages] == [2, 2, 1]


@pytest.mark.parametrize("end", ["cut", "drop"])
def test_a_stream_that_ends_goes_on_where_it_was(v1: Api, box: Box, notes: Notes, end: str) -> None:
    with following(v1, notes):
        v1.create_namespaced_pod(NS, pod("one"))
        soon(lambda: notes.pods == {"one"})
        box.watches(end)
        v1.create_namespaced_pod(NS, pod("two"))
        soon(lambda: notes.pods == {"one", "two"})

    assert notes.lists == 1


def test_a_version_that_is_too_old_is_a_new_list_whichever_way_it_is_said(v1: Api, box: Box, notes: Notes) -> None:
    with following(v1, notes):
        box.watches("expire")  # an ERROR in the stream
        soon(lambda: notes.lists == 2 and notes.is_true)
        v1.create_namespaced_pod(NS, pod("one"))
        soon(lambda: notes.pods == {"one"})
        box.fault("/pods$", query="watch=", status=410, reason="Expired")  # the answer itself
        box.watches("cut")
        soon(lambda: notes.lists == 3 and notes.is_true)

        assert notes.pods == {"one"}


def test_a_connection_that_is_silent_for_too_long_is_given_up(
    v1: Api, box: Box, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    with following(v1, notes):
        box.watches("stall")
        v1.create_namespaced_pod(NS, pod("one"))

        soon(lambda: notes.pods == {"one"})


def test_what_the_follower_could_not_keep_is_told_again(v1: Api, notes: Notes) -> None:
    with following(v1, notes):
        notes.fails = 1
        v1.create_namespaced_pod(NS, pod("one"))

        soon(lambda: notes.pods == {"one"} and notes.is_true)

    assert notes.lists == 2


def test_a_server_that_is_away_is_told_once_and_nothing_that_was_seen_counts(v1: Api, box: Box, notes: Notes) -> None:
    with structlog.testing.capture_logs() as logs, following(v1, notes):
        box.fault("/pods$", query="watch=", status=503, times=FOR_EVER)
        box.watches("drop")
        soon(lambda: not notes.is_true)
        soon(lambda: REGISTRY.get_sample_value("pgfleet_watch_connected", {"resource": "pods"}) == 0)
        box.clear_faults()
        soon(lambda: notes.is_true)
        soon(lambda: REGISTRY.get_sample_value("pgfleet_watch_connected", {"resource": "pods"}) == 1)

    assert [line["event"] for line in logs if line["event"] == "watch.unanswered"] == ["watch.unanswered"]


def test_a_watcher_that_waits_for_news_stops_at_once(v1: Api, notes: Notes) -> None:
    with following(v1, notes) as watcher:
        quiet = threading.Event()
        quiet.wait(0.1)

        watcher.stop()
        watcher.join(20)

        assert not watcher.is_alive()
