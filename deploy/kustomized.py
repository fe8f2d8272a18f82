"""Renders deploy/kustomize/base from the chart: `python deploy/kustomized.py HELM [--check]`."""  # noqa: INP001  # a script

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "chart"
BASE = Path(__file__).parent / "kustomize" / "base"
HEAD = "# Written by `make generated` from deploy/chart.\n"
SOURCE = re.compile(r"^# Source: pgfleet/templates/(?P<file>\S+)\n", re.MULTILINE)
SETTINGS = "settings.yaml"
KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

resources:
{resources}
# Generated, so that its name holds a hash: changed settings roll out by themselves.
configMapGenerator:
  - name: pgfleet-settings
    namespace: gpu-controlplane
    envs: [settings.env]
"""


def rendered(helm: str) -> dict[str, str]:
    """The files of the base with their text, one for each template of the chart."""
    command = [helm, "template", "pgfleet", str(CHART), "--namespace=gpu-controlplane"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # helm, on our chart
    files: dict[str, list[str]] = defaultdict(list)
    for document in re.split(r"^---\n", text, flags=re.MULTILINE):
        if source := SOURCE.search(document):
            files[source["file"].replace("/", "-")].append(SOURCE.sub("", document, count=1).strip("\n") + "\n")
    (settings,) = files.pop(SETTINGS)
    return {
        **{name: HEAD + "---\n".join(documents) for name, documents in files.items()},
        "settings.env": HEAD + _variables(yaml.safe_load(settings)["data"]),
        "kustomization.yaml": HEAD + KUSTOMIZATION.format(resources="".join(f"  - {name}\n" for name in sorted(files))),
    }


def _variables(settings: dict[str, Any]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def main() -> None:
    helm, *options = sys.argv[1:]
    wanted = rendered(helm)
    present = {path.name: path.read_text("utf-8") for path in BASE.glob("*")} if BASE.exists() else {}
    if present == wanted:
        return
    if "--check" in options:
        stale = sorted(name for name in {*present, *wanted} if present.get(name) != wanted.get(name))
        sys.exit(f"{BASE} is not what the chart renders ({', '.join(stale)}): run make generated")
    BASE.mkdir(parents=True, exist_ok=True)
    for name in present.keys() - wanted.keys():
        (BASE / name).unlink()
    for name, text in wanted.items():
        (BASE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
