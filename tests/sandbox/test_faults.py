"""Faults on order happen as often as they were ordered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_the_next_matching_requests_are_refused(box: Box, v1: Api, status: int) -> None:
    box.fault("/pods$", method="POST", status=status, times=2)

    for _ in range(2):
        with pytest.raises(client.ApiException) as refused:
            v1.create_namespaced_pod(NS, pod("a"))
        assert refused.value.status == status
    v1.create_namespaced_pod(NS, pod("a"))

    assert box.state()["created_pods"] == 1


def test_a_refusal_says_when_to_come_back(box: Box, v1: Api) -> None:
    box.fault("/pods$", status=429, retry_after=7)

    with pytest.raises(client.ApiException) as refused:
        v1.list_namespaced_pod(NS)

    assert (refused.value.headers or {})["Retry-After"] == "7"


def test_a_dropped_request_is_not_carried_out(box: Box, v1: Api) -> None:
    box.fault("/pods$", method="POST", drop=True)

    with pytest.raises(urllib3.exceptions.ProtocolError):
        v1.create_namespaced_pod(NS, pod("a"))

    assert box.state()["created_pods"] == 0


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}])
def test_a_request_may_be_carried_out_and_denied(box: Box, v1: Api, fault: dict[str, Any]) -> None:
    box.fault("/pods$", method="POST", after=True, **fault)

    with pytest.raises((urllib3.exceptions.ProtocolError, client.ApiException)):
        v1.create_namespaced_pod(NS, pod("a"))

    assert v1.read_namespaced_pod("a", NS)


def test_a_delayed_request_is_answered_late(box: Box, v1: Api) -> None:
    box.fault("/pods$", delay_s=0.2)
    started_at = time.monotonic()

    v1.list_namespaced_pod(NS)

    assert time.monotonic() - started_at >= 0.2


def test_a_delay_ends_when_faults_are_cleared(box: Box, v1: Api) -> None:
    box.fault("/pods$", delay_s=3600)
    with ThreadPoolExecutor(1) as thread:
        listing = thread.submit(v1.list_namespaced_pod, NS)
        until(lambda: box.state()["faults_left"], lambda left: left == 0)
        was_answered = listing.done()

        box.clear_faults()

        assert listing.result().items == []
    assert not was_answered


@pytest.mark.parametrize("fault", [{}, {"status": 503}, {"status": 502, "text": "<html>Bad Gateway</html>"}])
def test_an_outage_lasts_until_it_is_over(box: Box, v1: Api, fault: dict[str, Any]) -> None:
    box.outage(**fault)

    for _ in range(3):
        with pytest.raises((urllib3.exceptions.ProtocolError, client.ApiException)) as refused:
            v1.list_namespaced_pod(NS)
        assert getattr(refused.value, "status", None) == fault.get("status")
        assert fault.get("text", "") in str(refused.value)
    box.clear_faults()

    assert v1.list_namespaced_pod(NS).items == []


def test_cleared_faults_do_nothing(box: Box, v1: Api) -> None:
    box.fault("/pods$", status=500, times=100)

    box.clear_faults()

    assert v1.list_namespaced_pod(NS).items == []
