"""A version is tagged once all that names it agrees."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from worlds.chart.rendering import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CUT = "# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-12-01\n\n- All of it.\n"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """What names the version, committed, with a changelog whose entry is cut."""
    for name in ("pyproject.toml", "deploy/chart/Chart.yaml", "deploy/release.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CUT, "utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "--message=all")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def lacking(house: Path) -> list[str]:
    script: dict[str, Any] = runpy.run_path(str(house / "deploy" / "release.py"))
    return list(script["lacking"](script["version"]()))


def test_a_version_on_which_all_agree_may_be_tagged_once(house: Path) -> None:
    before = lacking(house)
    git(house, "tag", "v0.1.0")

    assert before == []
    assert lacking(house) == ["git: there is a tag v0.1.0; a release is not made anew"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CHANGELOG.md", "## 0.1.0 - 2026-12-01", "## 0.0.9 - 2026-12-01", "there is no entry `## 0.1.0"),
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- More.\n", "something is Unreleased still"),
        ("deploy/chart/Chart.yaml", "appVersion: 0.1.0", "appVersion: 0.2.0", "appVersion is 0.2.0"),
    ],
)
def test_what_does_not_agree_is_named(house: Path, file: str, old: str, new: str, said: str) -> None:
    path = house / file
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    found = lacking(house)

    assert any(said in each for each in found)
    assert found[-1] == "git: there are changes that are not committed"
