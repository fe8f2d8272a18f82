"""AsyncAPI 3 of the queues, made from the schemas that are published for their messages."""

import json
from typing import Any

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


def document(version: str) -> dict[str, Any]:
    """The whole document; equal for equal code."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
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
            "description": "Queues in PostgreSQL (PGMQ): whoever may send to one sends a JSON object.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"database": {"host": "localhost:5432", "protocol": "postgresql"}},
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
