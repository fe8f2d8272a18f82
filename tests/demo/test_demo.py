"""The demo, whole, as a program would run it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from worlds.fleet import REPOSITORY


def test_the_demo_says_true_of_all_its_claims(short_dir: Path) -> None:
    environment = {**os.environ, "PGFLEET_DATA_DIR": str(short_dir)}
    environment.pop("DATABASE_URL", None)
    command = ["make", "--silent", "demo", "ARGS=--json"]

    said = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    summary: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    assert summary["submitted"] == sum(summary["final"].values()) == 32
    assert (summary["gpus_held"], summary["objects_left"], summary["dead_letters"]) == (0, 0, 1)
    assert (summary["gangs"], summary["backfilled"], summary["warned"]) == (1, 1, 1)
