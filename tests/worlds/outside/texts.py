"""Objects and refusals as a real Kubernetes API server and its kubelets write them, kept as text.

They are made from the documentation, the source and the OpenAPI description of Kubernetes 1.36, not from the sandbox:
`<word>` stands for what differs from case to case.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "sandbox" / "kubernetes_texts"


def text(path: str) -> dict[str, Any]:
    """The object of a path such as `pods/evicted`: its own to change."""
    read: dict[str, Any] = yaml.safe_load(_read(path))
    return read


def names(folder: str) -> list[str]:
    """`pods`, `nodes`, `services`, `events` or `refusals`: the paths in it."""
    return sorted(f"{folder}/{path.stem}" for path in (FOLDER / folder).glob("*.yaml"))


@cache
def _read(path: str) -> str:
    return (FOLDER / f"{path}.yaml").read_text()
