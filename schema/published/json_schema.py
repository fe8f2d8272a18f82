"""The published JSON Schema of each queue's messages, made from the code that validates them.

`make generated` writes them to `schema/messages/`; a test compares.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from pgfleet.schema.explaining import ADDED, LET_PASS
from pgfleet.schema.kinds import contracts
from pgfleet.schema.messages import Message

LET_PASS_PATTERN = f"^({ADDED}|({'|'.join(LET_PASS)})$)"
FOLDER = Path(__file__).parents[1] / "messages"
QUEUES: dict[str, Mapping[str, type[Message]]] = {one.queue: one.requests for one in contracts().values()}


def schema_of(queue: str) -> dict[str, Any]:
    """One schema for all that may be sent to a queue: `oneOf` its messages, told apart by `action`."""
    types = list(dict.fromkeys(QUEUES[queue].values()))
    references, definitions = models_json_schema([(model, "validation") for model in types])
    for model in types:
        definitions["$defs"][model.__name__]["required"] = sorted(
            {"action", *definitions["$defs"][model.__name__].get("required", [])}
        )
    for each in definitions["$defs"].values():
        if each.get("additionalProperties") is False:
            each["patternProperties"] = {**each.get("patternProperties", {}), LET_PASS_PATTERN: {}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": queue,
        "description": f"A message for pgmq.send('{queue}', ...). Fields that are not listed are refused.",
        "oneOf": [references[model, "validation"] for model in types],
        **definitions,
    }


def text_of(queue: str) -> str:
    return json.dumps(schema_of(queue), indent=2, sort_keys=True) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for queue in QUEUES:
        (FOLDER / f"{queue}.json").write_text(text_of(queue), encoding="utf-8")


if __name__ == "__main__":
    main()
