"""Keeps the chart in step with kinds, settings and rights: `python deploy/manifests.py [--check]`."""  # noqa: INP001  # a script

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pgfleet.console.commands.running.worker import kinds
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.kubernetes.rights import IN_CLUSTER, IN_NAMESPACE

CHART = Path(__file__).parent / "chart"
EXAMPLE = Path(__file__).parent / "kustomize" / "example" / "logins" / "kustomization.yaml"
# Logins beside those of the kinds.
OTHERS = ("api", "migrator")
# Settings that the chart gives itself, to each pod.
GIVEN = {
    f"PGFLEET_{name}"
    for name in ("METRICS_PORT", "METRICS_HOST", "NAMESPACE", "PRIORITY_CLASS", "DRAIN_S", "KUBECONFIG")
}
RIGHTS = """\
# Written by `make generated` from workers/clients/kubernetes/rights.py, which says what each right is for. A worker
# looks for the same rights when it starts.
inNamespace:
{in_namespace}inCluster:
{in_cluster}"""
RULE = """\
  - apiGroups: ["{group}"]
    resources: [{resource}]
    verbs: [{verbs}]
"""
KIND = "# What is special about this kind: callsOutside, and what workers.defaults of values.yaml has.\n"
LOGIN = """\
  - name: pgfleet-db-{name}
    literals:
      - DATABASE_URL=postgresql://login_{name}:PASSWORD@pgbouncer.example:6543/pgfleet
      - DATABASE_DIRECT_URL=postgresql://login_{name}:PASSWORD@postgres-primary.example:5432/pgfleet
"""
LOGINS = """\
# Written by `make generated`.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

# A login for each kind, one for the HTTP API and one for the migration; README says of what they are members. An
# overlay of yours has its own of these Secrets where git does not see them, or lets whatever keeps your secrets make
# them.
# Where DATABASE_URL leads to a transaction pooler, DATABASE_DIRECT_URL leads past it: for LISTEN and migrations.
namespace: gpu-controlplane

secretGenerator:
{logins}"""


def rendered() -> Iterator[tuple[Path, str]]:
    """The files that there should be, with their text; of a kind that has its file, what is in it."""
    yield (
        CHART / "files" / "rights.yaml",
        RIGHTS.format(in_namespace=_rules(IN_NAMESPACE), in_cluster=_rules(IN_CLUSTER)),
    )
    logins = "".join(LOGIN.format(name=name) for name in (*sorted(kinds()), *OTHERS))
    yield EXAMPLE, LOGINS.format(logins=logins)
    yield CHART / "values.schema.json", _values_schema()
    for path in (CHART / "kinds" / f"{kind}.yaml" for kind in kinds()):
        yield path, path.read_text("utf-8") if path.exists() else KIND


def _rules(rights: Mapping[str, tuple[str, ...]]) -> str:
    return "".join(
        RULE.format(group=group, resource=resource, verbs=", ".join(verbs))
        for (resource, _, group), verbs in ((path.partition("."), verbs) for path, verbs in rights.items())
    )


def _values_schema() -> str:
    """The schema of the chart's values, with the names of settings and of kinds that the program has."""
    path = CHART / "values.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
    schema["$defs"]["setting"]["enum"] = sorted(_settings() - GIVEN)
    schema["$defs"]["kind"]["enum"] = sorted(kinds())
    return json.dumps(schema, indent=2) + "\n"


def _settings() -> set[str]:
    """The variables of settings that are no secrets."""
    fields = {**Settings.model_fields, **ServeSettings.model_fields}
    open_ones = {name for name, field in fields.items() if SecretStr.__name__ not in repr(field.annotation)}
    return {f"PGFLEET_{name.upper()}" for name in open_ones} | {"PGFLEET_LOG_LEVEL"}


def main() -> None:
    wanted = dict(rendered())
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(map(str, stale))}: run make generated")
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")


if __name__ == "__main__":
    main()
