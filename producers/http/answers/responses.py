"""An answer as a response: JSON by the model of its endpoint, with its tag."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from starlette.responses import Response

from pgfleet.producers.http.endpoint import Answer, Endpoint, encoded

JSON = "application/json"


def response_of(endpoint: Endpoint, answer: Answer, asked: Mapping[str, str], left: Mapping[str, str]) -> Response:
    """`asked` are the headers of the request, `left` those that say how often it may be asked."""
    status = answer.status or endpoint.status
    headers = {"Cache-Control": "no-store", **left, **answer.headers}
    if answer.body is None:
        return Response(status_code=status, headers=headers)
    content = content_of(endpoint, answer.body)
    if endpoint.method == "GET":
        headers["ETag"] = tag = f'"{sha256(content).hexdigest()[:32]}"'
        headers["Cache-Control"] = "private, no-cache"
        if {tag, "*"} & {*_tags(asked.get("if-none-match", ""))}:
            return Response(status_code=304, headers=headers)
    return Response(content, status, headers, JSON)


def content_of(endpoint: Endpoint, body: Any) -> bytes:
    """By the model of the answer: what that does not name is not shown. Bytes are what has been made so before."""
    if isinstance(body, bytes):
        return body
    if endpoint.gives is None:
        return encoded(body)
    return endpoint.gives.model_validate(body).model_dump_json().encode()


def _tags(given: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in given.split(",")]
