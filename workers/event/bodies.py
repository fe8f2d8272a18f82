"""What is sent: a batch of CloudEvents, or a message of Slack or Teams with a line an event."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgfleet.schema.event import Format
from pgfleet.schema.feed.event import SPEC_VERSION, Event
from pgfleet.workers.event.words import TEST, line_of

JSON = "application/json"
BATCH = "application/cloudevents-batch+json"
ADAPTIVE = "application/vnd.microsoft.card.adaptive"
# Neither Slack nor Teams takes more in one message.
MOST_LETTERS = 20_000


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, and what it is."""

    media_type: str
    content: bytes


def body_of(events: Sequence[Event], written_as: str) -> Body:
    """These events, in the way that the subscription wants them."""
    if written_as == Format.CLOUDEVENTS:
        return Body(BATCH, f"[{','.join(event.json() for event in events)}]".encode())
    return _message([line_of(event) for event in events], written_as)


def body_of_test(subscription_id: str, test_id: str, at: datetime, written_as: str) -> Body:
    """An event that nothing has moved."""
    if written_as != Format.CLOUDEVENTS:
        return _message([TEST], written_as)
    event = {
        "specversion": SPEC_VERSION,
        "id": test_id,
        "source": "/pgfleet/test",
        "type": "fleet.test",
        "subject": subscription_id,
        "time": at.isoformat(),
        "datacontenttype": JSON,
        "data": {"text": TEST},
    }
    return _json(BATCH, [event])


def _message(lines: Sequence[str], written_as: str) -> Body:
    shown: list[str] = []
    letters = 0
    for line in lines:
        letters += len(line) + 1
        if letters > MOST_LETTERS:
            shown.append(f"... and {len(lines) - len(shown)} more")
            break
        shown.append(line)
    if written_as == Format.SLACK:
        return _json(JSON, {"text": "\n".join(shown)})
    return _json(JSON, _card(shown))


def _card(lines: Sequence[str]) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": line, "wrap": True} for line in lines],
    }
    return {"type": "message", "attachments": [{"contentType": ADAPTIVE, "content": card}]}


def _json(media_type: str, document: object) -> Body:
    return Body(media_type, json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())
