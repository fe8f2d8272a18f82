"""The sandbox runs in a thread or a process, and serves SSH keys too."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, connected, pod, ready

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box = sandbox_cluster.box


def test_a_process_of_its_own_is_the_same_and_ends_with_its_context() -> None:
    with sandbox.spawned(["h100:1x8"], ready_delay_s=0.01) as box, connected(box) as api:
        v1: Api = client.CoreV1Api(api)
        v1.create_namespaced_pod(NS, pod("a"))
        ready(v1, "a")

    with pytest.raises(ConnectionRefusedError):
        box.state()


def test_a_user_has_the_same_keys_every_time(box: Box) -> None:
    first, second = (fetched(box, "octocat") for _ in range(2))

    assert first == second
    assert all(line.startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") for line in first.splitlines())
    assert first != fetched(box, "hubot")


def test_some_users_have_no_keys_and_some_do_not_exist(box: Box) -> None:
    assert fetched(box, "nokeys-1") == ""
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetched(box, "nobody-1")
    assert refused.value.code == 404
    refused.value.close()


def test_keys_can_be_slow_and_faulty(box: Box) -> None:
    started_at = time.monotonic()
    fetched(box, "slow-1")
    waited_s = time.monotonic() - started_at
    box.fault("octocat.keys", status=503)

    with pytest.raises(urllib.error.HTTPError) as refused:
        fetched(box, "octocat")

    assert waited_s >= 0.3
    assert refused.value.code == 503
    refused.value.close()


def fetched(box: Box, user: str) -> str:
    with urllib.request.urlopen(f"{box.ssh_keys_url}/{user}.keys", timeout=120) as response:  # noqa: S310 - our own
        text: str = response.read().decode()
    return text
