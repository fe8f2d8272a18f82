"""AWS's faults on order: the next matching requests are refused, delayed, dropped, or done and then denied."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pgfleet.console.sandbox.aws.requests import Asked


@dataclass(slots=True)
class AwsFault:
    """`action` is a regular expression for the whole of a request's name; `status` None only delays.

    `after` carries the request out first, and then delays, refuses or drops its answer.
    """

    action: str
    times: int = 1
    status: int | None = 503
    code: str = "InternalError"
    message: str = "a fault of the sandbox"
    after: bool = False
    latency_s: float = 0.0
    drop: bool = False

    def matches(self, asked: Asked) -> bool:
        return re.fullmatch(self.action, asked.name) is not None

    def document(self, asked: Asked) -> str | None:
        """The answer in place of the real one; None for a fault that only delays."""
        return None if self.status is None else error_document(self.code, self.message, is_ec2=asked.is_ec2)


def read_fault(wanted: dict[str, Any]) -> AwsFault:
    """Raises `ValueError` or `TypeError` for an order that can't be read."""
    fault = AwsFault(**wanted)
    try:
        re.compile(fault.action)
    except re.error as error:
        raise ValueError(f"action is no regular expression: {error}") from error
    return fault


def error_document(code: str, message: str, *, is_ec2: bool) -> str:
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    inner = f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>" if is_ec2 else error
    return f'<?xml version="1.0" encoding="UTF-8"?>{inner}'


def drop(environ: dict[str, Any]) -> None:
    """Close the connection without an answer. Raises the error by which the server knows that the caller has left."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
