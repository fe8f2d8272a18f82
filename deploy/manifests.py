"""Keeps the manifests of the workers in step with the kinds there are: `python deploy/manifests.py [--check]`."""  # noqa: INP001  # a script

import sys
from collections.abc import Iterator
from pathlib import Path

from pgfleet.console.commands.worker import kinds

FOLDER = Path(__file__).parent / "base" / "kinds"
HEAD = """\
# Written by `make generated`.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

"""
LIST = "resources:\n{kinds}"
WORKER = """\
resources:
  - ../../worker

nameSuffix: -{kind}

labels:
  - pairs:
      app.kubernetes.io/component: {kind}
    includeSelectors: true

# What is special about this kind is in the other files of this folder.
patches:
  - target:
      kind: Deployment
    patch: |-
      - op: add
        path: /spec/template/spec/containers/0/args/-
        value: {kind}
"""


def rendered() -> Iterator[tuple[Path, str]]:
    """The files that there should be, with their text."""
    yield FOLDER / "kustomization.yaml", HEAD + LIST.format(kinds="".join(f"  - {kind}\n" for kind in sorted(kinds())))
    for kind in kinds():
        folder = FOLDER / kind
        special = sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
        patches = "".join(f"  - path: {name}\n" for name in special)
        yield folder / "kustomization.yaml", HEAD + WORKER.format(kind=kind) + patches


def main() -> None:
    wanted = dict(rendered())
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(map(str, stale))}: run python deploy/manifests.py")
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], "utf-8")


if __name__ == "__main__":
    main()
