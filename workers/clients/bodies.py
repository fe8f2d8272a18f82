"""Answers of Kubernetes that end: the official client reads and unpacks whatever comes, as long as something does."""

import time
from typing import Any

from kubernetes import client
from kubernetes.client import rest
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

PART_BYTES = 64 * 1024


class TooMuchError(HTTPError):
    """More than an answer may have, or for longer."""


class BoundedClient(client.ApiClient):
    """The official client, for servers that are somebody else's: an answer has so many bytes, and takes so long."""

    def __init__(self, configuration: client.Configuration, size_bytes: int, within_s: float) -> None:
        super().__init__(configuration)
        self.size_bytes, self.within_s = size_bytes, within_s

    def call_api(self, *given: Any, **named: Any) -> rest.RESTResponse:
        answer = super().call_api(*given, **named)
        body = beginning(answer.response, self.size_bytes + 1, self.within_s)
        if len(body) > self.size_bytes:
            raise TooMuchError
        keep(answer, body)
        return answer


def keep(answer: rest.RESTResponse, body: bytes) -> None:
    """Let this be what the client reads as its body."""
    answer.data = body  # type: ignore[assignment]  # None until it is read


def beginning(response: HTTPResponse, size_bytes: int, within_s: float) -> bytes:
    """What is read of a body until it is over, or has so many bytes when it is unpacked.

    Raises:
        TooMuchError: it is not over in time.
    """
    until = time.monotonic() + within_s
    read = bytearray()
    try:
        while len(read) < size_bytes and (part := response.read1(PART_BYTES, decode_content=True)):
            read += part
            if time.monotonic() > until:
                raise TooMuchError
    finally:
        if not response.closed:
            response.close()
    return bytes(read[:size_bytes])
