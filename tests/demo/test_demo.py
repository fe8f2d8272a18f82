"""The demo, whole, as a program would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_the_demo_says_true_of_all_its_claims(short_dir: Path) -> None:
    environment = {**os.environ, "PGFLEET_DATA_DIR": str(short_dir)}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "console.main", "demo", "--json"]

    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    summary: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    assert summary["submitted"] == sum(summary["final"].values()) == 26
    assert (summary["gpus_held"], summary["objects_left"], summary["dead_letters"]) == (0, 0, 1)
