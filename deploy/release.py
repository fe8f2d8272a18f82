"""Prepares the tag of a release, once all that names its version agrees: `python deploy/release.py [--check]`."""  # noqa: INP001  # a script

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r"^## (?:\[?(?P<version>\d+\.\d+\.\d+)\]? - (?P<date>\d{4}-\d\d-\d\d)|Unreleased)$", re.MULTILINE)


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def lacking(wanted: str) -> Iterator[str]:
    """What keeps this version from being tagged."""
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text("utf-8"))
    for name in ("version", "appVersion"):
        if str(chart[name]) != wanted:
            yield f"deploy/chart/Chart.yaml: {name} is {chart[name]}, and not {wanted}"
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    entries = [entry["version"] for entry in ENTRY.finditer(changes)]
    if wanted not in entries:
        yield f"CHANGELOG.md: there is no entry `## {wanted} - <date>`; cut it from what is Unreleased"
    elif None in entries and _text_of_unreleased(changes):
        yield "CHANGELOG.md: something is Unreleased still; it belongs to this version or to a commit after the tag"
    if _git("status", "--porcelain"):
        yield "git: there are changes that are not committed"
    if _git("tag", "--list", f"v{wanted}"):
        yield f"git: there is a tag v{wanted}; a release is not made anew"


def _text_of_unreleased(changes: str) -> str:
    return re.split(r"^## ", changes.partition("## Unreleased\n")[2], maxsplit=1, flags=re.MULTILINE)[0].strip()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603, S607  # git, as it is found


def main() -> None:
    wanted = version()
    found = list(lacking(wanted))
    if found:
        sys.exit("\n".join(found))
    if "--check" not in sys.argv[1:]:
        _git("tag", "--annotate", f"v{wanted}", f"--message=pgfleet {wanted}")
        sys.stdout.write(f"v{wanted} is tagged here. To publish it: git push origin v{wanted}\n")


if __name__ == "__main__":
    main()
