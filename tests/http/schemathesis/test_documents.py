"""Schemathesis asks whatever the document allows and does not allow, in each role: no mistake, nothing undescribed.

`make fuzz-test` asks far more: `PGFLEET_FUZZ_EXAMPLES` says how many requests an endpoint gets in each phase.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgfleet.producers.http.serving import endpoints
from pgfleet.schema.nodes.keys import add_node
from worlds.api.server import Api, api_on

EXAMPLES = os.environ.get("PGFLEET_FUZZ_EXAMPLES")
PEOPLE = {"USER": "ada", "DEVOPS": "ops", "ADMIN": "boss"}
# In the default run, what is most likely to be wrong: each endpoint's example, and a few dice, the same each time.
BRIEF = ("--phases", "examples,fuzzing", "--generation-deterministic", "--max-examples", "1")
WHOLE = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES or "1")


@pytest.fixture(scope="module")
def api(fleet_dsn: str) -> Iterator[Api]:
    with api_on(fleet_dsn) as running:
        yield running


def key_of(api: Api, role: str) -> str:
    return api.key_of(PEOPLE[role], role) if role in PEOPLE else add_node(api.conn, {"name": "n", "region": "eu"})[1]


def settings(folder: Path, key: str) -> Path:
    """No answer is held back.

    May be refused although it is as described: a cursor that no page gave, a word of a filter, what fields must not be
    together, and text with control characters.
    """
    lists = [each.name for each in endpoints() if each.asks and "cursor" in each.asks.model_fields]
    strict = ["create_reservation", "try_reservation", "create_key"]
    accepted = ["2xx", "304", 401, 403, 404, 409, 410, 412, 422, 429, "5xx"]
    lines = [
        "request-timeout = 60",
        "cache.enabled = false",
        "[headers]",
        f'Authorization = "Bearer {key}"',
        "[parameters]",
        '"query.wait" = 0',
        "[checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps(accepted)}",
        "[[operations]]",
        f"include-operation-id = {json.dumps([*lists, *strict])}",
        "[operations.checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps([400, *accepted])}",
    ]
    path = folder / "schemathesis.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def asked(api: Api, key: str, folder: Path, *how: str) -> subprocess.CompletedProcess[str]:
    """Streams have no end, and tests of their own."""
    streams = [part for each in endpoints() if each.streams for part in ("--exclude-operation-id", each.name)]
    config = ("--config-file", str(settings(folder, key)))
    command = (sys.executable, "-m", "schemathesis.cli", *config, "run", f"{api.url}/openapi.json", *how, *streams)
    shown = ("--no-color", "--no-shrink", "--warnings", "off", "--continue-on-failure")
    return subprocess.run([*command, *shown], cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("role", [*PEOPLE, "NODE"])
def test_what_is_answered_is_what_the_document_says(api: Api, tmp_path: Path, role: str) -> None:
    """All of Schemathesis's checks: statuses, types, bodies, headers, methods, what is refused and what is taken."""
    ended = asked(api, key_of(api, role), tmp_path, *(WHOLE if EXAMPLES else BRIEF))

    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    assert "Test cases:" in ended.stdout


def test_schemathesis_asks_every_endpoint_that_is_no_stream(api: Api, tmp_path: Path) -> None:
    """What it leaves out would be seen by nobody."""
    number = len([each for each in endpoints() if not each.streams])

    ended = asked(api, "not-a-key-of-anybody-at-all", tmp_path, "--phases", "examples", "--max-examples", "1")

    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    assert f"{number} selected" in ended.stdout
