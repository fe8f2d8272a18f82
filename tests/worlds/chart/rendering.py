"""The chart as helm renders it; helm is on the PATH of `make chart-test`."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "chart"
VARIANTS = {path.stem: path for path in sorted((CHART / "variants").glob("*.yaml"))}
CONTROL_PLANE = "gpu-controlplane"

Document = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@cache
def text_of(*options: str) -> str:
    ended = helm("template", "pgfleet", str(CHART), f"--namespace={CONTROL_PLANE}", *options)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rendered(*options: str) -> list[Document]:
    return [each for each in yaml.safe_load_all(text_of(*options)) if each]


def of_variant(name: str) -> list[Document]:
    return rendered(f"--values={VARIANTS[name]}")


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def named(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = (each for each in of_kind(documents, kind) if each["metadata"]["name"] == name)
    return found


def pods(documents: list[Document]) -> Iterator[Document]:
    for document in of_kind(documents, "Deployment", "Job"):
        yield document["spec"]["template"]["spec"]
