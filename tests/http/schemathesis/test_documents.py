"""Schemathesis asks whatever the document allows and does not allow, in each role: no mistake, nothing undescribed.

`make fuzz-test` asks far more: `PGFLEET_FUZZ_EXAMPLES` says how many requests an endpoint gets in each phase.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgfleet.producers.http.serving import endpoints
from pgfleet.schema.nodes.keys import add_node
from worlds.api.server import Api, api_on

EXAMPLES = int(os.environ.get("PGFLEET_FUZZ_EXAMPLES", "0"))
PEOPLE = {"USER": "ada", "DEVOPS": "ops", "ADMIN": "boss"}
# In the default run, what is most likely to be wrong: each endpoint's example, and a few dice, the same each time.
BRIEF = ("--phases", "examples,fuzzing", "--generation-deterministic")
WHOLE = ("--phases", "examples,fuzzing,stateful")
# The edges of each type: thousands of requests, so by who may do all. What the others may not is refused before.
EDGES = ("--phases", "examples,coverage,fuzzing,stateful")
# Requests in a row, each about what one before has made.
STEPS = 8
SCENARIOS = 5
# Measurements and settings are JSON of any form, no number too large and nothing too deep: their schema says neither.
# A configuration is YAML, of which a schema says nothing; where events go is a host that there may be; a policy is of a
# user or of a team.
FREE = (
    *("add_configuration", "create_cluster", "create_subscription", "put_policy", "record_cluster_metrics"),
    *("remove_policy", "update_cluster_node", "send_heartbeat"),
)
# To delete these is a request (202): what is asked to end is there until a worker has seen to it.
ASKED = ("get_subscription", "list_deliveries")
# What a request that is as described may be answered with, as things are; but for 400, all that the document says.
ACCEPTED = ["2xx", "304", 401, 403, 404, 409, 410, 422, 429]


@pytest.fixture(scope="module")
def api(fleet_dsn: str) -> Iterator[Api]:
    with api_on(fleet_dsn) as running:
        yield running


def key_of(api: Api, role: str) -> str:
    return api.key_of(PEOPLE[role], role) if role in PEOPLE else add_node(api.conn, {"name": "n", "region": "eu"})[1]


def settings(folder: Path, key: str) -> Path:
    """No answer is held back.

    Text is of ASCII and without NUL: which other letters can be printed, and that what is within JSON has no NUL, no
    pattern can say. Tests of their own send such text.
    """
    lines = [
        "request-timeout = 60",
        "cache.enabled = false",
        "[headers]",
        f'Authorization = "Bearer {key}"',
        "[parameters]",
        '"query.wait" = 0',
        "[checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps(ACCEPTED)}",
        "[generation]",
        'codec = "ascii"',
        "allow-x00 = false",
        f"max-examples = {EXAMPLES or 1}",
        # Which methods an address has, tests of their own ask; here one will do, of each.
        "[phases.coverage]",
        'unexpected-methods = ["TRACE"]',
        "[phases.stateful]",
        f"max-steps = {STEPS}",
        "[phases.stateful.generation]",
        f"max-examples = {SCENARIOS * (EXAMPLES or 1)}",
    ]
    lines += [
        "[[operations]]",
        f"include-operation-id = {json.dumps(FREE)}",
        "[operations.checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps([400, *ACCEPTED])}",
    ]
    lines += [
        "[[operations]]",
        f"include-operation-id = {json.dumps(ASKED)}",
        "[operations.checks.use_after_free]",
        "enabled = false",
    ]
    path = folder / "schemathesis.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def described(api: Api, key: str, folder: Path) -> Path:
    """The document, in which a cursor is one that the list has given: any other is refused, as no schema can say."""
    with api.with_key(key) as client:
        document: dict[str, Any] = client.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            for operation in methods.values():
                asked = operation.get("parameters", [])
                cursor = next((each for each in asked if each["name"] == "cursor"), None)
                if cursor is None:
                    continue
                given = client.get(path, params={"limit": 1}).json().get("next") if "{" not in path else None
                if given is None:
                    asked.remove(cursor)
                else:
                    cursor["schema"] = {"type": "string", "enum": [given]}
    file = folder / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def asked(api: Api, key: str, folder: Path, *how: str) -> subprocess.CompletedProcess[str]:
    """Streams have no end, and tests of their own."""
    streams = [part for each in endpoints() if each.streams for part in ("--exclude-operation-id", each.name)]
    config = ("--config-file", str(settings(folder, key)))
    document = (str(described(api, key, folder)), "--url", api.url)
    command = (sys.executable, "-m", "schemathesis.cli", *config, "run", *document, *how, *streams)
    shown = ("--no-color", "--no-shrink", "--warnings", "off", "--continue-on-failure")
    ended = subprocess.run([*command, *shown], cwd=folder, text=True, capture_output=True, check=False)
    # Whole, where a test shows the end of it.
    (folder / "schemathesis.txt").write_text(ended.stdout + ended.stderr, encoding="utf-8")
    return ended


@pytest.mark.parametrize("role", [*PEOPLE, "NODE"])
def test_what_is_answered_is_what_the_document_says(api: Api, tmp_path: Path, role: str) -> None:
    """All of Schemathesis's checks: statuses, types, bodies, headers, methods, what is refused and what is taken."""
    whole = EDGES if role == "ADMIN" else WHOLE

    ended = asked(api, key_of(api, role), tmp_path, *(whole if EXAMPLES else BRIEF))

    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    assert "Test cases:" in ended.stdout


def test_schemathesis_asks_every_endpoint_that_is_no_stream(api: Api, tmp_path: Path) -> None:
    """What it leaves out would be seen by nobody."""
    number = len([each for each in endpoints() if not each.streams])

    ended = asked(api, "not-a-key-of-anybody-at-all", tmp_path, "--phases", "examples")

    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    assert f"{number} selected" in ended.stdout
