"""Kubernetes `Status` answers: what the API says when it refuses, and when it has nothing else to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    504: "Timeout",
}
CHANGED = "the object has been modified; please apply your changes to the latest version and try again"


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
        **({"details": details} if details else {}),
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


def forbidden(resource: str, name: str, why: str, *, causes: Sequence[dict[str, str]] = ()) -> RefusedError:
    """The 403 of what an object is not allowed; without a name, of what a user is not."""
    about = f'{resource} "{name}"' if name else resource
    details: dict[str, Any] = ({"name": name} if name else {}) | {"kind": resource}
    details |= {"causes": list(causes)} if causes else {}
    return RefusedError(403, f"{about} is forbidden: {why}", details=details)


def internal(why: str) -> RefusedError:
    """The 500 of a server that fails at something around the object."""
    return RefusedError(500, f"Internal error occurred: {why}", details={"causes": [{"message": why}]})


def storage(why: str) -> RefusedError:
    """The 500 of what etcd says, which has no reason and no details."""
    refused = RefusedError(500, f"etcdserver: {why}")
    del refused.status["reason"]
    return refused


def expired(why: str) -> RefusedError:
    return RefusedError(410, why)


def invalid(kind: str, name: str, field: str, why: str) -> RefusedError:
    """The 422 of a failed validation; `why` as Kubernetes writes it, such as `Required value`."""
    return invalid_in_all(kind, name, [(field, why)])


def invalid_in_all(kind: str, name: str, faults: Sequence[tuple[str, str]]) -> RefusedError:
    """The same for several fields, each with why."""
    causes = [{"reason": _cause(why), "message": why, "field": field} for field, why in faults]
    told = [f"{field}: {why}" for field, why in faults]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    return RefusedError(
        422, f'{kind} "{name}" is invalid: {listed}', details={"name": name, "kind": kind, "causes": causes}
    )


def _cause(why: str) -> str:
    """`Invalid value: ...` is a `FieldValueInvalid`."""
    first = why.partition(":")[0]
    return CAUSES.get(first, "FieldValueInvalid")


CAUSES = {
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Not found": "FieldValueNotFound",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Internal error": "InternalError",
}
