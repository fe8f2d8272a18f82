"""Connections on which nothing goes on: a head that does not come to its end, an answer that nobody takes.

uvicorn waits for both for ever. Whoever sends a byte a second, or reads none, would hold a connection and what waits
to be sent on it for as long as they like.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pgfleet.producers.http.problem import problem

# A head has to be whole so long after its first byte, or after the connection was made.
HEAD_S = 15.0
# Of what waits to be sent, the client has to take something within so long.
TAKEN_S = 30.0
# More at once are not answered: each costs memory and a descriptor, also where it asks for nothing.
MOST_CONNECTIONS = 6_000


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to each wait for the client."""

    head_s = HEAD_S
    taken_s = TAKEN_S
    most = MOST_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's is
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._end_with(503, "too-full", "too many connections are open", **{"Retry-After": "1"})
            return
        self._head = self.loop.call_later(self.head_s, self._no_head)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_is_here()
        elif self._head is None:
            # The beginning of the next one; what ends a wait between two of them has just been called off.
            self._head = self.loop.call_later(self.head_s, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._is_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._is_taken()
        self._taking = self.loop.call_later(self.taken_s, self._not_taken)

    def resume_writing(self) -> None:
        self._is_taken()
        self.flow.resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        """What is no HTTP is a problem as all others are."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._end_with(400, "bad-request", "this is no HTTP request")
        else:
            self.transport.abort()

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _is_taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _no_head(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._end_with(408, "too-slow", f"address and headers were not here within {self.head_s:g} s")

    def _not_taken(self) -> None:
        """The client takes nothing, so a farewell would only wait behind the rest."""
        self.transport.abort()

    def _end_with(self, status: int, slug: str, detail: str, **more: str) -> None:
        """Written past the state of the connection, which has none for an answer that nobody has asked for."""
        answer = problem(status, slug, detail, headers={"Connection": "close", **more})
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name.decode()}: {value.decode()}" for name, value in answer.raw_headers),
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + bytes(answer.body))
        self.transport.close()
