"""What ConfigMaps and Secrets hold: values by key, of one MiB at most."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid_in_all
from pgfleet.console.sandbox.kubernetes.validation.faults import Faults, invalid_value, why_no_config_key

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

LARGEST_BYTES = 1024 * 1024
TOO_LONG = f"Too long: may not be more than {LARGEST_BYTES} bytes"


def config_map_faults(body: Object) -> Faults:
    values = (body.get("data") or {}) | (body.get("binaryData") or {})
    faults = _keys(body, "data", "binaryData")
    return faults + ([("[]", TOO_LONG)] if _size(values) > LARGEST_BYTES else [])


def secret_faults(body: Object) -> Faults:
    """Raises `RefusedError` (400) for data that is no base64."""
    values = body.get("data") or {}
    for value in values.values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            why = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
            raise RefusedError(400, why) from error
    size = sum(len(base64.b64decode(value)) for value in values.values())
    return _keys(body, "data") + ([("data", TOO_LONG)] if size > LARGEST_BYTES else [])


def check_change(kind: str, before: Object, body: Object) -> None:
    """Raises `RefusedError` (422) for a change of what was made immutable."""
    if not before.get("immutable"):
        return
    fields = [name for name in ("data", "binaryData") if (body.get(name) or {}) != (before.get(name) or {})]
    fields += [] if body.get("immutable") else ["immutable"]
    if fields:
        why = "Forbidden: field is immutable when `immutable` is set"
        raise invalid_in_all(kind, before["metadata"]["name"], [(field, why) for field in fields])


def with_plain_data(body: Object) -> None:
    """The `stringData` of a Secret becomes data; it is never read back."""
    plain = body.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    if encoded:
        body["data"] = (body.get("data") or {}) | encoded


def _keys(body: Object, *fields: str) -> Faults:
    return [
        (f"{field}[{key}]", invalid_value(key, why))
        for field in fields
        for key in body.get(field) or {}
        for why in why_no_config_key(key)
    ]


def _size(values: dict[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in values.items())
