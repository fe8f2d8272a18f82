"""Requests to the sandbox's switches, and the faults that are ordered by them."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


class Fault(Protocol):
    times: int


F = TypeVar("F", bound=Fault)


class Orders(Generic[F]):
    """Faults that are still to come, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._ordered: list[F] = []

    def add(self, fault: F) -> None:
        self._ordered.append(fault)

    def clear(self) -> None:
        self._ordered.clear()

    def left(self) -> int:
        return sum(fault.times for fault in self._ordered)

    def take(self, matches: Callable[[F], bool]) -> F | None:
        """The first that matches; it is left with one time less."""
        fault = next(filter(matches, self._ordered), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._ordered.remove(fault)
        return fault


def ask(url: str, method: str, path: str, document: Any = None) -> Any:
    """What the sandbox at this address answers. Raises `ValueError` with its own words for a refusal."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, f"/_sandbox/{path}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answered: Any = json.loads(response.read())
    finally:
        connection.close()
    if response.status >= 400:
        raise ValueError(f"the sandbox refused {method} {path}: {answered.get('message')}")
    return answered
