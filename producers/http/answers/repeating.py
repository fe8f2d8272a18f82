"""A POST with an `Idempotency-Key`, as its IETF draft has it: done once, and answered as the first was."""

import json
from dataclasses import replace
from datetime import UTC
from hashlib import scrypt, sha256

from pgfleet.producers.http.answers.responses import content_of
from pgfleet.producers.http.endpoint import Answer, Call, Endpoint
from pgfleet.producers.http.sending import said
from pgfleet.producers.placing.refusing import IdUsedError
from pgfleet.schema.errors import FleetError
from pgfleet.schema.identity.audit import Kept
from pgfleet.schema.identity.once import Before, Given, Once

# Fields of bodies that people choose: a quick hash of such a body would let guess them.
GUESSABLE = "password"


class ShownOnceError(FleetError):
    """It was done, and its answer held what is kept nowhere."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


def once_of(endpoint: Endpoint, call: Call, query: bytes) -> Once | None:
    """By what a request is known again; None where it may be done as often as it is asked for."""
    if call.key is None or not endpoint.is_done_once:
        return None
    asked = [endpoint.path, dict(call.path), query.decode("ascii", "replace"), said(call.body)]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    if endpoint.takes is not None and GUESSABLE in endpoint.takes.model_fields:
        text = scrypt(text, salt=call.key.encode(), n=2**14, r=8, p=1)
    return Once(sha256(call.key.encode()).hexdigest(), endpoint.name, sha256(text).hexdigest())


def again(endpoint: Endpoint, before: Before) -> Answer:
    """What the first request was answered.

    Raises:
        IdUsedError: it asked for something else.
        ShownOnceError: it can't be answered so once more.
    """
    if not before.is_same:
        raise IdUsedError(f"Idempotency-Key: was used for another request ({before.endpoint}); choose another")
    given = before.given
    if endpoint.lost is not None:
        at = before.asked_at.astimezone(UTC)
        done = f"this was done at {at:%Y-%m-%dT%H:%M:%SZ}, and its id is {given.about}"
        hint = endpoint.lost.format(id=given.about)
        raise ShownOnceError(f"{done}; the key or secret in its answer was shown then, and is not shown again", hint)
    headers = {} if given.location is None else {"Location": given.location}
    return Answer(given.body and given.body.encode(), given.status, headers, given.about)


def kept(endpoint: Endpoint, once: Once, answer: Answer) -> tuple[Answer, Kept]:
    """The answer, made as it will be sent, and what of it is kept."""
    content = None if answer.body is None else content_of(endpoint, answer.body)
    is_shown_once = endpoint.lost is not None or content is None
    given = Given(
        status=answer.status or endpoint.status,
        about=answer.about,
        location=answer.headers.get("Location"),
        body=None if is_shown_once or content is None else content.decode(),
    )
    return replace(answer, body=content), Kept(once.key_hash, given)
