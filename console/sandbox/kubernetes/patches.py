"""Merge patches (RFC 7396) of a parsed object, which is all that the official client's callers here send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

# The client sends an object as a strategic merge patch. Lists are replaced all the same.
MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")


def patched(content_type: str, body: Object, patch: Any) -> Object:
    """Changes `body` in place. Raises `RefusedError` for a patch of another form."""
    if content_type not in MERGE:
        raise RefusedError(415, f"the body of the request was in an unknown format: {content_type}")
    if not isinstance(patch, dict):
        raise RefusedError(400, "a merge patch must be an object")
    return _merge(body, patch)


def _merge(body: Object, patch: Object) -> Object:
    for key, value in patch.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, dict):
            current = body.get(key)
            body[key] = _merge(current if isinstance(current, dict) else {}, value)
        else:
            body[key] = value
    return body
