"""Answers of a Kubernetes API server: what was asked for, or the row's error with the server's own words.

What is not the row's trouble has been raised by the client already (`guarded.py`).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException

from pgfleet.workers.clients.kubernetes.guarded import said
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

PAGE = 500
# What is on its way, as a deletion, is looked at again so soon: waiting for it is no failed attempt.
SOON_S = 5.0
EXISTS = 409
NEVER = frozenset({400, 404, 405, 413, 415, 422})

R = TypeVar("R")


def asked(call: Callable[[], R]) -> R:
    """The answer.

    Raises:
        NeverError: refused, and will be again.
        TryAgainError: refused for now.
    """
    try:
        return call()
    except ApiException as error:
        raise _refusal(error) from error


def or_none(call: Callable[[], R]) -> R | None:
    """The answer; None where the thing isn't there."""
    try:
        return asked(call)
    except NeverError as error:
        if isinstance(error.__cause__, ApiException) and error.__cause__.status == 404:
            return None
        raise


def or_exists(call: Callable[[], R]) -> R | None:
    """What was created; None where the name is taken."""
    try:
        return call()
    except ApiException as error:
        if error.status == EXISTS and "AlreadyExists" in (error.body or ""):
            return None
        raise _refusal(error) from error


def every(listed: Callable[..., Any], *where: str, timeout_s: float, **wanted: str) -> Iterator[Any]:
    """All that a list has, page by page; each page may take `timeout_s`."""
    more: str | None = None
    while True:
        page = asked(
            lambda: listed(*where, **wanted, limit=PAGE, _continue=more, _request_timeout=timeout_s)  # noqa: B023  # called before the next page
        )
        yield from page.items
        more = page.metadata.var_continue if page.metadata else None
        if not more:
            return


def _refusal(error: ApiException) -> Exception:
    words = said(error.status or 0, error.reason, _message(error))
    return NeverError(words) if error.status in NEVER else TryAgainError(words)


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "{}").get("message", ""))
    except ValueError:
        return str(error.body)
