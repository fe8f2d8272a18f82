"""What the API answers that is no success, as errors of commands: a sentence each, in the words of their options."""

import re
from collections.abc import Mapping
from typing import Any

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.printable import printable

TYPE = "urn:pgfleet:problem:"
# What can be put right by typing something else, or by logging in: such commands end with 2.
USAGE = frozenset({"bad-request", "not-proven", "unsupported-media-type", "too-large", "method-not-allowed"})
LONGEST = 2000


class Problem(Refusal):
    """The API has refused it."""

    def __init__(self, text: str, slug: str = "") -> None:
        super().__init__(text)
        self.slug = slug


class Away(FleetError):
    """The API does not answer, or what answers is none."""


class NotProven(FleetError):
    """The API does not take the key."""


class BadRequest(BadMessage):
    """A field of what was sent can't be used; the text names each."""


def slug_of(document: Mapping[str, Any]) -> str:
    """The last word of a problem's type."""
    return str(document.get("type", "")).removeprefix(TYPE)


def error_of(document: Mapping[str, Any], status: int, url: str) -> FleetError:
    """The error that a problem document is."""
    slug = slug_of(document)
    text = printable(str(document.get("detail") or document.get("title") or f"status {status}"))[:LONGEST]
    hint = f" {printable(str(document['hint']))[:LONGEST]}" if document.get("hint") else ""
    if status == 401:
        return NotProven(f"{url} does not take your key: {text}. Log in: pgfleet login {url}")
    if slug == "bad-request":
        return BadRequest(_fields(document) or text)
    if slug in USAGE:
        return FleetError(f"{url} can't do this: {text}; it may be of another version.")
    return Problem(_sentence(text) + hint, slug)


def _fields(document: Mapping[str, Any]) -> str:
    """`gpu_count: must be ...; name: ...`, as who reads them names them by options."""
    listed = document.get("errors")
    named = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return "; ".join(printable(f"{each.get('field')}: {each.get('reason')}")[:LONGEST] for each in named)


def _sentence(text: str) -> str:
    return text if re.search(r"[.!?]$", text) else f"{text}."
