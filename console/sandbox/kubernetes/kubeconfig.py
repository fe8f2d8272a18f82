"""The kubeconfig file by which clients find the sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "sandbox"


def write_kubeconfig(path: Path, url: str) -> None:
    """JSON, which is YAML too."""
    context = {"cluster": NAME, "user": NAME, "namespace": "gpu-dev"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": {"server": url}}],
        "users": [{"name": NAME, "user": {}}],
        "contexts": [{"name": NAME, "context": context}],
    }
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(json.dumps(document, indent=2) + "\n")
