"""What a Kubernetes server, or whoever answers in its place, says is read to a bound."""

from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from pgfleet.workers.clients.kubernetes.connection import Credentials, Source
from pgfleet.workers.clients.kubernetes.guarded import GuardedClient
from pgfleet.workers.runtime.outcomes import NotNowError
from worlds.network.hostile import Hostile, endless, hostile_server


def read_pod(hostile: Hostile) -> Any:
    configuration = client.Configuration(host=hostile.url)
    configuration.retries = False
    with GuardedClient(Credentials(Source(lambda: configuration, list))) as api:
        return client.CoreV1Api(api).read_namespaced_pod("a", "gpu-dev", _request_timeout=5)


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "500 Oh", "302 Found"])
def test_a_page_without_an_end_is_no_answer(status: str) -> None:
    with hostile_server() as hostile:
        hostile.answer = endless(f"HTTP/1.1 {status}\r\nLocation: {hostile.url}/x\r\n\r\n".encode(), b"<p>" * 10_000)

        with pytest.raises(NotNowError) as told:
            read_pod(hostile)

        assert len(str(told.value)) < 1000
        assert len(hostile.asked) == 1


def test_a_refusal_is_told_in_the_servers_words() -> None:
    with hostile_server() as hostile:
        hostile.says(b'{"kind": "Status", "message": "pods \\"a\\" not found"}', status="404 Not Found")

        with pytest.raises(ApiException) as told:
            read_pod(hostile)

        assert 'pods \\"a\\" not found' in str(told.value.body)
