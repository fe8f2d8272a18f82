"""What goes wrong, as RFC 9457 has it: `application/problem+json` with a stable `type`."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:pgfleet:problem:"
# What each slug means, in a sentence: the table of the document, and of the page about the API.
SLUGS: Mapping[str, str] = {
    "bad-request": "A field, a parameter or the body can't be used; `errors` names each.",
    "not-proven": "There is no proof of who asks, or it is not valid any more.",
    "not-permitted": "Who asks may not do this.",
    "not-found": "There is no such row, or it is not for who asks to see.",
    "method-not-allowed": "The address is known, and this method is not for it.",
    "conflict": "It can't be done as things are.",
    "used-otherwise": "This id or Idempotency-Key was used for something else.",
    "still-asked": "The same request with this Idempotency-Key is being done; `Retry-After` says when to ask again.",
    "shown-once": "It was done, and its answer held what is shown once, such as a key: make another, and end that one.",
    "cursor-too-old": "What comes after this cursor is not kept any more; begin anew.",
    "too-large": "The body or the headers are larger than is taken.",
    "unsupported-media-type": "A body is JSON, `Content-Type: application/json`, and not compressed.",
    "too-slow": "The request did not arrive in time.",
    "too-many-requests": "Who asks has asked too often; `Retry-After` says when it may be again.",
    "internal": "A mistake of this program; its log has it under `instance`.",
    "too-full": "So much waits already that it would not be done soon; `Retry-After` says when to try again.",
    "issuer-away": "The issuer of the token does not answer, and its keys are not known; try again.",
    "database-away": "The database does not answer in time; nothing was taken.",
}


def problem(status: int, slug: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """An answer that says what is wrong; `more` are members beside those of RFC 9457, None left out."""
    body = {"type": TYPE + slug, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body |= {name: value for name, value in more.items() if value is not None}
    # Text from outside may hold half a character, which UTF-8 has not.
    content = json.dumps(body).encode()
    return Response(content, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)
