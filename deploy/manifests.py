"""Keeps manifests in step with the kinds there are, and the rights they use: `python deploy/manifests.py [--check]`."""  # noqa: INP001  # a script

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pgfleet.console.commands.running.worker import kinds
from pgfleet.workers.clients.kubernetes.rights import IN_CLUSTER, IN_NAMESPACE

FOLDER = Path(__file__).parent / "base" / "kinds"
EXAMPLE = Path(__file__).parent / "overlays" / "example" / "logins" / "kustomization.yaml"
# Logins beside those of the kinds.
OTHERS = ("api", "migrator")
ROLES = """\
# Written by `make generated` from workers/clients/kubernetes/rights.py, which says what each right is for. A worker
# looks for the same rights when it starts.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: pgfleet-reservation
  namespace: gpu-dev
rules:
{in_namespace}---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: pgfleet-reservation
  namespace: gpu-dev
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: pgfleet-reservation
subjects:
  - kind: ServiceAccount
    name: pgfleet-reservation
    namespace: gpu-controlplane
---
# Nodes and the volumes of disks belong to no namespace.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: pgfleet-reservation
rules:
{in_cluster}---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: pgfleet-reservation
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: pgfleet-reservation
subjects:
  - kind: ServiceAccount
    name: pgfleet-reservation
    namespace: gpu-controlplane
"""
RULE = """\
  - apiGroups: ["{group}"]
    resources: [{resource}]
    verbs: [{verbs}]
"""
HEAD = """\
# Written by `make generated`.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

"""
LIST = "namespace: gpu-controlplane\n\nresources:\n{kinds}"
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
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: pgfleet
      spec:
        template:
          spec:
            containers:
              - name: worker
                args: [worker, {kind}]
                env:
                  # A login of its own, with the rights of its kind.
                  - name: DATABASE_URL
                    valueFrom:
                      secretKeyRef:
                        name: pgfleet-db-{kind}
                        key: DATABASE_URL
                  - name: DATABASE_DIRECT_URL
                    valueFrom:
                      secretKeyRef:
                        name: pgfleet-db-{kind}
                        key: DATABASE_DIRECT_URL
                        optional: true
"""
LOGIN = """\
  - name: pgfleet-db-{name}
    literals:
      - DATABASE_URL=postgresql://login_{name}:PASSWORD@pgbouncer.example:6543/pgfleet
      - DATABASE_DIRECT_URL=postgresql://login_{name}:PASSWORD@postgres-primary.example:5432/pgfleet
"""
LOGINS = """\
# A login for each kind, one for the HTTP API and one for the migration; README says of what they are members. An
# overlay of yours has its own of these Secrets where git does not see them, or lets whatever keeps your secrets make
# them.
# Where DATABASE_URL leads to a transaction pooler, DATABASE_DIRECT_URL leads past it: for LISTEN and migrations.
namespace: gpu-controlplane

secretGenerator:
{logins}"""


def rendered() -> Iterator[tuple[Path, str]]:
    """The files that there should be, with their text."""
    yield FOLDER.parent / "rbac.yaml", ROLES.format(in_namespace=_rules(IN_NAMESPACE), in_cluster=_rules(IN_CLUSTER))
    yield FOLDER / "kustomization.yaml", HEAD + LIST.format(kinds="".join(f"  - {kind}\n" for kind in sorted(kinds())))
    logins = "".join(LOGIN.format(name=name) for name in (*sorted(kinds()), *OTHERS))
    yield EXAMPLE, HEAD + LOGINS.format(logins=logins)
    for kind in kinds():
        folder = FOLDER / kind
        special = sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
        patches = "".join(f"  - path: {name}\n" for name in special)
        yield folder / "kustomization.yaml", HEAD + WORKER.format(kind=kind) + patches


def _rules(rights: Mapping[str, tuple[str, ...]]) -> str:
    return "".join(_rule(*path.partition(".")[::2], verbs) for path, verbs in rights.items())


def _rule(resource: str, group: str, verbs: Sequence[str]) -> str:
    return RULE.format(group=group, resource=resource, verbs=", ".join(verbs))


def main() -> None:
    wanted = dict(rendered())
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(map(str, stale))}: run python deploy/manifests.py")
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")


if __name__ == "__main__":
    main()
