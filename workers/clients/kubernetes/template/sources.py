"""Where the volumes and variables of a pod template may come from: what belongs to no user and leads to no node.

The admission policy of deploy/ (`pgfleet-pods`) lets in the same, so what is taken here is not refused later.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgfleet.workers.clients.kubernetes.names import SHARED

# Each with the field that names what it is of.
NAMED_BY = {"configMap": "name", "persistentVolumeClaim": "claimName", "secret": "secretName"}
EMPTY = "emptyDir"
# An amount that is more than none.
SOME = re.compile("[1-9]")
KINDS = ", ".join(sorted((*NAMED_BY, EMPTY)))
REFERENCES = frozenset({"configMapKeyRef", "secretKeyRef"})
OF_THE_POD = frozenset({"fieldRef", "resourceFieldRef"})
ONLY_SHARED = f"a pod template may only name what is called {SHARED}..., so that nothing of a user is in all pods"


def volume_mistakes(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for volume in volumes:
        for kind in sorted(volume.keys() - {"name"}):
            yield from _volume(f"spec.volumes.{volume['name']}.{kind}", kind, volume[kind])


def _volume(where: str, kind: str, source: Any) -> Iterator[str]:
    if kind == EMPTY:
        if not SOME.search(source.get("sizeLimit") or ""):
            yield f"{where}.sizeLimit: is needed, and 0 is none: others write to the same node"
    elif kind not in NAMED_BY:
        yield f"{where}: a volume of a pod template is one of {KINDS}"
    elif not _is_shared(source, NAMED_BY[kind]):
        yield f"{where}.{NAMED_BY[kind]}: {ONLY_SHARED}"


def env_mistakes(where: str, container: Mapping[str, Any]) -> Iterator[str]:
    for variable in container.get("env") or ():
        for kind, source in (variable.get("valueFrom") or {}).items():
            field = f"{where}.env.{variable['name']}.valueFrom.{kind}"
            if kind not in REFERENCES | OF_THE_POD:
                yield f"{field}: a pod template may not set it"
            elif kind in REFERENCES and not _is_shared(source, "name"):
                yield f"{field}.name: {ONLY_SHARED}"
    for each in container.get("envFrom") or ():
        for kind in sorted(each.keys() - {"prefix"}):
            if not _is_shared(each[kind], "name"):
                yield f"{where}.envFrom.{kind}.name: {ONLY_SHARED}"


def _is_shared(source: Mapping[str, Any], field: str) -> bool:
    return str(source.get(field) or "").startswith(SHARED)
