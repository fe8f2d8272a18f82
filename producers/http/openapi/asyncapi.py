"""AsyncAPI 3 of the queues, from the schemas that are published for their messages, and of the stream of events."""

import json
from typing import Any

from pgfleet.schema.feed.event import SPEC_VERSION
from pgfleet.schema.feed.known import known_types
from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import CONTRACT, CONTRACT_HEADER
from pgfleet.schema.published.json_schema import schema_of

REFS, HERE = "#/$defs/", "#/components/schemas/"
# What a sender may put beside a body; the rest is written by the door of the queue.
HEADERS = {
    "type": "object",
    "properties": {
        CONTRACT_HEADER: {"type": "integer", "description": f"The contract's version, {CONTRACT} now."},
        "traceparent": {"type": "string", "description": "W3C Trace Context of the sender."},
    },
}
# As `schema/feed/event.py` makes it.
EVENT = {
    "type": "object",
    "description": "A move of a row that was committed, or a notice of one, as CloudEvents 1.0 have it.",
    "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
    "additionalProperties": False,
    "properties": {
        "specversion": {"const": SPEC_VERSION},
        "id": {"type": "string", "description": "With `source` it names the event."},
        "source": {"type": "string", "pattern": "^/pgfleet/[0-9]+$"},
        "type": {
            "type": "string",
            "description": "fleet.<machine>.<to>: the state that the row is in now, or a notice of a row that stays "
            "where it is. All that this version knows are the examples.",
            "examples": known_types(),
        },
        "subject": {"type": "string", "description": "The id of the row."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "data": {
            "type": "object",
            "required": ["machine", "from", "to", "reason", "row"],
            "additionalProperties": False,
            "properties": {
                "machine": {"type": "string"},
                "from": {
                    "type": "string",
                    "description": "The state before; of a notice, the state that the row is in.",
                },
                "to": {"type": "string", "description": "The state now, or the notice."},
                "reason": {"type": "string"},
                "row": {"type": "object", "description": "The row's public columns when the event was read."},
            },
        },
    },
}
EVENTS = {
    "address": "/v1/events",
    "title": "What moves",
    "description": "Server-Sent Events: `id` is the position to go on from (`Last-Event-ID`), `event` the type and "
    "`data` the event on one line. The last one of a stream, `event: end`, says why it ends, and is none of these.",
    "servers": [{"$ref": "#/servers/api"}],
    "messages": {"Event": {"$ref": "#/components/messages/Event"}},
}
# As `workers/clients/webhooks/signing.py` makes them.
SIGNED = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {
            "type": "string",
            "description": "The same at each try: known already, it is to be taken again.",
        },
        "webhook-timestamp": {"type": "string", "pattern": "^[0-9]+$", "description": "Seconds since 1970."},
        "webhook-signature": {
            "type": "string",
            "description": "v1, and the HMAC-SHA256 of `<id>.<timestamp>.<body>` by the secret, in base64.",
        },
    },
}
DELIVERED = {
    "address": None,
    "title": "What subscribers are told",
    "description": "A POST to the address of each subscription (`/v1/subscriptions`), signed as Standard Webhooks "
    "say; a 2xx takes it, 410 ends the subscription. Chats are told in words instead.",
    "servers": [{"$ref": "#/servers/subscriber"}],
    "messages": {"Events": {"$ref": "#/components/messages/Events"}},
}


def document(version: str) -> dict[str, Any]:
    """The whole document; equal for equal code."""
    channels: dict[str, Any] = {"events": EVENTS, "subscribers": DELIVERED}
    operations: dict[str, Any] = {
        "stream_events": {
            "action": "send",
            "summary": "To who listens, of the rows that it may see.",
            "channel": {"$ref": "#/channels/events"},
        },
        "deliver_events": {
            "action": "send",
            "summary": "To each subscriber, in order, at least once.",
            "channel": {"$ref": "#/channels/subscribers"},
        },
    }
    of_event = {"name": "Event", "contentType": "application/cloudevents+json", "payload": {"$ref": f"{HERE}Event"}}
    batch = {"type": "array", "minItems": 1, "items": {"$ref": f"{HERE}Event"}}
    of_batch = {
        "name": "Events",
        "contentType": "application/cloudevents-batch+json",
        "headers": SIGNED,
        "payload": batch,
    }
    messages: dict[str, Any] = {"Event": of_event, "Events": of_batch}
    schemas: dict[str, Any] = {"Event": EVENT}
    for kind, contract in contracts().items():
        schema = _here(schema_of(contract.queue))
        schemas |= schema.pop("$defs")
        named = {_name(each): each for each in schema["oneOf"]}
        messages |= {
            name: {"name": name, "contentType": "application/json", "headers": HEADERS, "payload": reference}
            for name, reference in named.items()
        }
        channels[contract.queue] = {
            "address": contract.queue,
            "title": f"Messages of the kind {kind}",
            "description": f"select pgmq.send('{contract.queue}', '{{...}}'::jsonb)",
            "servers": [{"$ref": "#/servers/database"}],
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in named},
        }
        operations[f"send_{contract.queue}"] = {
            "action": "receive",
            "summary": f"The worker {kind} takes them.",
            "channel": {"$ref": f"#/channels/{contract.queue}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "pgfleet",
            "version": version,
            "description": "Queues in PostgreSQL (PGMQ): whoever may send to one sends a JSON object. "
            "And the stream of events of the HTTP API.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "database": {"host": "localhost:5432", "protocol": "postgresql"},
            "api": {"host": "localhost:8000", "protocol": "http"},
            "subscriber": {
                "host": "example.org",
                "protocol": "https",
                "description": "Each says its own.",
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _here(schema: dict[str, Any]) -> dict[str, Any]:
    """With its references as they are in this document."""
    moved: dict[str, Any] = json.loads(json.dumps(schema).replace(f'"{REFS}', f'"{HERE}'))
    return moved


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].removeprefix(HERE)
