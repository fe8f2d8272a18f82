"""Watches of the sandbox tell what a Kubernetes API server tells."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client, watch

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, connected, pod, ready, service, told, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

Watch: Any = watch.Watch  # has no types
SERVICES = f"/api/v1/namespaces/{NS}/services"
# Only a test that fails waits so long.
DEADLINE_S = 120


class Lines:
    """What a watch has sent so far, read by a thread of its own."""

    def __init__(self, response: Any) -> None:
        self.seen: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self._response = response
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def ended(self) -> list[dict[str, Any]]:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), f"the watch goes on after {self.told()}"
        return self.seen

    def told(self) -> list[tuple[str, str]]:
        return [(line["type"], line["object"]["metadata"].get("name", "")) for line in self.seen]

    def _read(self) -> None:
        try:
            for line in self._response:
                self.seen += [json.loads(each) for each in line.splitlines()]
        except urllib3.exceptions.HTTPError as error:
            self.error = error


@contextmanager
def watching(box: Box, path: str = SERVICES, **query: str) -> Iterator[Lines]:
    """A watch that is open when the block begins."""
    fields = {"watch": "true"} | query
    count = sum(box.state()["watches"].values())
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", box.url + path, fields=fields, preload_content=False, timeout=DEADLINE_S)
        assert response.status == 200
        until(lambda: sum(box.state()["watches"].values()), lambda now: now > count)
        lines = Lines(read_lines(response))
        try:
            yield lines
        finally:
            box.watches("resume")
            box.watches("cut")
            lines.ended()


def read_lines(response: Any) -> Iterator[bytes]:
    left = b""
    for chunk in response.stream(amt=None):
        *whole, left = (left + chunk).split(b"\n")
        yield from whole


def version(v1: Api) -> str:
    listed: str = v1.list_namespaced_service(NS).metadata.resource_version
    return listed


def label(v1: Api, name: str, **labels: str | None) -> None:
    v1.patch_namespaced_service(name, NS, {"metadata": {"labels": labels}})


def test_a_watch_tells_arrivals_changes_and_departures(v1: Api) -> None:
    since = version(v1)
    v1.create_namespaced_service(NS, service("a"))
    label(v1, "a", x="y")
    v1.delete_namespaced_service("a", NS)

    stream = Watch().stream(v1.list_namespaced_service, NS, resource_version=since, timeout_seconds=1)

    seen = [(event["type"], event["object"].metadata.labels) for event in stream]
    assert seen == [("ADDED", None), ("MODIFIED", {"x": "y"}), ("DELETED", {"x": "y"})]


def test_a_watch_sees_what_happens_while_it_is_open(box: Box, v1: Api) -> None:
    with watching(box, f"/api/v1/namespaces/{NS}/pods", labelSelector="reservation=a") as lines:
        v1.create_namespaced_pod(NS, pod("a"))
        v1.create_namespaced_pod(NS, pod("b"))
        ready(v1, "b")
        until(lambda: [line["object"]["status"]["phase"] for line in lines.seen], lambda seen: "Running" in seen)

    assert {name for _, name in lines.told()} == {"a"}


@pytest.mark.parametrize("resource", ["nodes", "events", "persistentvolumes", "pods"])
def test_everything_that_is_listed_is_watched(box: Box, v1: Api, resource: str) -> None:
    with watching(box, f"/api/v1/{resource}") as lines:
        v1.create_namespaced_pod(NS, pod("a", 100))
        v1.create_persistent_volume(sandbox_cluster.volume("v"))

        until(lambda: lines.seen)


def test_the_version_of_a_list_is_where_its_watch_begins(v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a"))
    since = version(v1)
    v1.create_namespaced_service(NS, service("b"))

    stream = Watch().stream(v1.list_namespaced_service, NS, resource_version=since, timeout_seconds=1)

    assert [event["object"].metadata.name for event in stream] == ["b"]


@pytest.mark.parametrize("since", ["", "0"])
def test_a_watch_from_no_version_begins_with_all_that_there_is(v1: Api, since: str) -> None:
    v1.create_namespaced_service(NS, service("a"))

    stream = Watch().stream(v1.list_namespaced_service, NS, resource_version=since, timeout_seconds=1)

    assert [(event["type"], event["object"].metadata.name) for event in stream] == [("ADDED", "a")]


def test_leaving_the_selection_is_a_departure_of_the_object_as_it_was(v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a"))
    label(v1, "a", x="y")
    since = version(v1)
    label(v1, "a", x="z")

    stream = Watch().stream(
        v1.list_namespaced_service, NS, label_selector="x=y", resource_version=since, timeout_seconds=1
    )

    seen = [(event["type"], event["object"].metadata) for event in stream]
    assert [(kind, metadata.labels) for kind, metadata in seen] == [("DELETED", {"x": "y"})]
    assert seen[0][1].resource_version == version(v1)


def test_coming_into_the_selection_is_an_arrival(box: Box, v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a"))

    with watching(box, labelSelector="x=y", resourceVersion=version(v1)) as lines:
        label(v1, "a", x="y")
        label(v1, "a", other="one")
        label(v1, "a", x=None)
        until(lambda: len(lines.seen), lambda count: count == 3)

    assert [kind for kind, _ in lines.told()] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_field_selector_follows_the_pods_of_a_node(box: Box, v1: Api) -> None:
    with watching(box, f"/api/v1/namespaces/{NS}/pods", fieldSelector="spec.nodeName=h100-1") as lines:
        v1.create_namespaced_pod(NS, pod("a"))
        v1.create_namespaced_pod(NS, pod("b"))
        nodes = {name: ready(v1, name).spec.node_name for name in ("a", "b")}

        (there,) = (name for name, node in nodes.items() if node == "h100-1")
        until(lines.told, lambda seen: len(seen) > 1)
    assert lines.told()[0] == ("ADDED", there)
    assert {name for _, name in lines.told()} == {there}


def test_a_version_that_is_forgotten_is_told_as_an_event(box: Box, v1: Api) -> None:
    since = version(v1)
    v1.create_namespaced_service(NS, service("a"))
    box.forget_history()

    with watching_at_once(box, resourceVersion=since) as lines:
        (line,) = lines.ended()

    status = line["object"]
    assert line["type"] == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith(f"too old resource version: {since} (")


def test_the_official_client_takes_a_forgotten_version_for_gone(v1: Api, box: Box) -> None:
    since = version(v1)
    v1.create_namespaced_service(NS, service("a"))
    box.forget_history()

    with pytest.raises(client.ApiException) as refused:
        list(Watch().stream(v1.list_namespaced_service, NS, resource_version=since, timeout_seconds=1))

    assert refused.value.status == 410


def test_only_so_many_changes_are_remembered() -> None:
    with sandbox.running(history_size=5) as box, connected(box) as api:
        v1: Api = client.CoreV1Api(api)
        for number in range(10):
            v1.create_namespaced_service(NS, service(f"s{number}"))

        with watching_at_once(box, resourceVersion="2") as lines:
            (line,) = lines.ended()

    assert line["object"]["code"] == 410


def test_a_watch_ends_when_its_time_is_up(box: Box) -> None:
    with watching(box, timeoutSeconds="1", allowWatchBookmarks="true") as lines:
        seen = lines.ended()

    assert [line["type"] for line in seen] == ["BOOKMARK"]
    assert lines.error is None


def test_a_bookmark_has_the_newest_version_and_nothing_else(box: Box, v1: Api) -> None:
    with watching(box, f"/api/v1/namespaces/{NS}/pods", allowWatchBookmarks="true", labelSelector="no=one") as lines:
        v1.create_namespaced_service(NS, service("a"))
        box.watches("bookmark")
        until(lambda: lines.seen)

    (line,) = lines.seen
    assert (line["type"], line["object"]["kind"]) == ("BOOKMARK", "Pod")
    assert line["object"]["metadata"]["resourceVersion"] == version(v1)
    assert line["object"]["spec"] == {"containers": None}


def test_bookmarks_come_only_where_they_are_allowed(box: Box, v1: Api) -> None:
    with watching(box) as lines:
        box.watches("bookmark")
        v1.create_namespaced_service(NS, service("a"))
        until(lambda: lines.seen)

    assert lines.told() == [("ADDED", "a")]


def test_a_watch_may_begin_with_what_there_is_and_say_where_that_ends(box: Box, v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a"))
    wanted = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}

    with watching(box, **wanted) as lines:
        until(lambda: len(lines.seen), lambda count: count == 2)

    assert lines.told() == [("ADDED", "a"), ("BOOKMARK", "")]
    assert lines.seen[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_that_is_cut_ends_as_one_whose_time_is_up(box: Box) -> None:
    with watching(box) as lines:
        box.watches("cut")

        assert lines.ended() == []
    assert lines.error is None


def test_a_watch_that_is_dropped_breaks(box: Box) -> None:
    with watching(box) as lines:
        box.watches("drop")
        lines.ended()

    assert isinstance(lines.error, urllib3.exceptions.HTTPError)


def test_an_open_watch_may_expire(box: Box) -> None:
    with watching(box) as lines:
        box.watches("expire")

        (line,) = lines.ended()
    assert (line["type"], line["object"]["code"]) == ("ERROR", 410)


def test_a_stalled_watch_sends_nothing_until_it_goes_on(box: Box, v1: Api) -> None:
    with watching(box) as lines:
        box.watches("stall")
        v1.create_namespaced_service(NS, service("a"))
        v1.create_namespaced_service(NS, service("b"))
        while_stalled = lines.told()
        box.watches("resume")
        until(lambda: len(lines.seen), lambda count: count == 2)

    assert while_stalled == []
    assert lines.told() == [("ADDED", "a"), ("ADDED", "b")]


def test_a_fault_may_be_about_watches_only(box: Box, v1: Api) -> None:
    box.fault("/services$", query="watch=", status=410, reason="Expired")

    v1.list_namespaced_service(NS)
    with pytest.raises(client.ApiException) as refused:
        list(Watch().stream(v1.list_namespaced_service, NS, timeout_seconds=1))

    assert told(refused)["reason"] == "Expired"


def test_questions_are_counted_by_what_they_are(box: Box, v1: Api) -> None:
    v1.list_namespaced_service(NS)

    with watching(box):
        asked = box.state()["asked"]

    assert asked == {"list services": 1, "watch services": 1}


@contextmanager
def watching_at_once(box: Box, path: str = SERVICES, **query: str) -> Iterator[Lines]:
    """A watch that may be over as soon as it is open."""
    with urllib3.PoolManager() as pool:
        fields = {"watch": "true"} | query
        response = pool.request("GET", box.url + path, fields=fields, preload_content=False, timeout=DEADLINE_S)
        assert response.status == 200
        yield Lines(read_lines(response))
