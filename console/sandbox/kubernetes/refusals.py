"""Kubernetes `Status` answers: what the API says when it refuses, and when it has nothing else to say."""

from __future__ import annotations

from typing import Any

REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class RefusedError(Exception):
    """A request the API answers with a failure `Status`."""

    def __init__(self, code: int, message: str, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = failure(code, message, reason=reason, details=details)


def failure(code: int, message: str, *, reason: str = "", details: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or REASONS.get(code, "Unknown"),
        "details": details or {},
        "code": code,
    }


def success(resource: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "kind": resource, "uid": uid},
    }


def not_found(resource: str, name: str) -> RefusedError:
    return RefusedError(404, f'{resource} "{name}" not found', details={"name": name, "kind": resource})


def already_exists(resource: str, name: str) -> RefusedError:
    message = f'{resource} "{name}" already exists'
    return RefusedError(409, message, reason="AlreadyExists", details={"name": name, "kind": resource})


def conflict(resource: str, name: str, why: str) -> RefusedError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return RefusedError(409, message, details={"name": name, "kind": resource})


def invalid(kind: str, name: str, field: str, why: str) -> RefusedError:
    """The 422 of a failed validation; `why` as Kubernetes writes it, such as `Required value`."""
    cause = "FieldValue" + why.partition(":")[0].title().replace(" ", "")
    details = {"name": name, "kind": kind, "causes": [{"reason": cause, "message": why, "field": field}]}
    return RefusedError(422, f'{kind} "{name}" is invalid: {field}: {why}', details=details)
