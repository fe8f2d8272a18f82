"""What a request asks for: its body, and the options that stand in its query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from pgfleet.console.sandbox.kubernetes.listing import OPTIONS, Page
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid
from pgfleet.console.sandbox.kubernetes.selectors import Selector, parse_selector
from pgfleet.console.sandbox.kubernetes.validation.faults import unsupported
from pgfleet.console.sandbox.kubernetes.watching import LONGEST_WATCH_S, Wanted

if TYPE_CHECKING:
    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.paths import Target

LARGEST_BODY_BYTES = 3 * 1024 * 1024
STRICTNESSES = ("Ignore", "Strict", "Warn")
NEWER = "NotOlderThan"


@dataclass(frozen=True, slots=True)
class Way:
    """How something is to be written."""

    is_dry_run: bool
    strictness: str  # about fields that are not known: they are dropped, told, or refused


async def read_body(request: web.BaseRequest) -> Any:
    """Raises `RefusedError`: 400 for what is no JSON, 413 for what is too large."""
    raw = await request.read()
    if len(raw) > LARGEST_BODY_BYTES:
        raise RefusedError(413, f"Request entity too large: limit is {LARGEST_BODY_BYTES}")
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body of the request is no JSON: {error}") from error


def whole_number(text: Any) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise RefusedError(400, f"a whole number was expected, not {text!r}") from error
    if number < 0:
        raise RefusedError(400, f"the number must not be negative: {number}")
    return number


def is_on(request: web.BaseRequest, option: str) -> bool:
    """As the server reads a boolean: an option without a value is on."""
    return option in request.query and request.query[option].lower() not in ("false", "0")


def is_dry_run(request: web.BaseRequest, body: Any) -> bool:
    """Of a query, or of the options in the body of a deletion. Raises `RefusedError` (422)."""
    in_body = body.get("dryRun") if request.method == "DELETE" and isinstance(body, dict) else None
    asked = request.query.getall("dryRun", []) or in_body or []
    if asked and set(asked) != {"All"}:
        raise invalid(f"{_options_of(request)}.meta.k8s.io", "", "dryRun", unsupported(" ".join(asked), "All"))
    return bool(asked)


def way_of(request: web.BaseRequest, body: Any) -> Way:
    """Raises `RefusedError` (422) for options that there are not."""
    strictness = request.query.get("fieldValidation") or "Warn"
    if strictness not in STRICTNESSES:
        why = unsupported(strictness, *STRICTNESSES)
        raise invalid(f"{_options_of(request)}.meta.k8s.io", "", "fieldValidation", why)
    return Way(is_dry_run(request, body), strictness)


def selector_of(request: web.BaseRequest, target: Target) -> Selector:
    labels, fields = (request.query.get(name, "") for name in ("labelSelector", "fieldSelector"))
    return parse_selector(labels, fields, target.resource)


def page_of(request: web.BaseRequest) -> Page:
    query = request.query
    match = query.get("resourceVersionMatch", "")
    return Page(whole_number(query.get("limit") or 0), query.get("continue", ""), _version_of(request), match)


def wanted_of(request: web.BaseRequest, target: Target) -> Wanted:
    """Raises `RefusedError` (422) for initial events that are asked for in another way than by all clients."""
    query, initial = request.query, is_on(request, "sendInitialEvents")
    if initial and query.get("resourceVersionMatch") != NEWER:
        why = f"Forbidden: sendInitialEvents requires setting resourceVersionMatch to {NEWER}"
        raise invalid(OPTIONS, "", "resourceVersionMatch", why)
    return Wanted(
        target.resource.plural,
        target.namespace,
        selector_of(request, target),
        _version_of(request),
        is_on(request, "allowWatchBookmarks"),
        initial,
        float(whole_number(query.get("timeoutSeconds") or 0) or LONGEST_WATCH_S),
    )


def _options_of(request: web.BaseRequest) -> str:
    return {"POST": "CreateOptions", "DELETE": "DeleteOptions", "PATCH": "PatchOptions"}.get(
        request.method, "UpdateOptions"
    )


def _version_of(request: web.BaseRequest) -> str:
    version = request.query.get("resourceVersion", "")
    if version and not version.isdigit():
        why = f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise invalid(OPTIONS, "", "resourceVersion", why)
    return version
