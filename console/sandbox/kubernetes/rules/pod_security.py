"""The standards `baseline` and `restricted` of Pod Security, judged on the pod as it would be stored.

All checks of `baseline` come first, then those of `restricted`, each in the order of its name, as in the refusals of
Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.rules.baseline import (
    BASELINE,
    REPLACED_BY_RESTRICTED,
    Check,
    capability,
    named,
    profile,
    security,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store

ALLOWED_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
PROFILES = ("RuntimeDefault", "Localhost")


@dataclass(frozen=True, slots=True)
class PodSecurity:
    level: str = "restricted"
    version: str = "latest"

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        if new.plural != "pods":
            return
        checks = BASELINE + (RESTRICTED if self.level == "restricted" else REPLACED_BY_RESTRICTED)
        found = [fault for check in checks for fault in check(new.body["spec"], new.containers())]
        if found:
            raise new.forbidden(f'violates PodSecurity "{self.level}:{self.version}": {", ".join(found)}')


def _escalation(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    bad = [each for each in containers if security(each).get("allowPrivilegeEscalation") is not False]
    if bad:
        what = f"{named('container', bad)} must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({what})"


def _capabilities(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    kept = [each for each in containers if "ALL" not in (capability(each).get("drop") or ())]
    added = [each for each in containers if set(capability(each).get("add") or ()) - {"NET_BIND_SERVICE"}]
    faults = [f'{named("container", kept)} must set securityContext.capabilities.drop=["ALL"]'] if kept else []
    if added:
        names = sorted({f'"{name}"' for each in added for name in capability(each)["add"]} - {'"NET_BIND_SERVICE"'})
        which = named("container", added)
        faults.append(f"{which} must not include {', '.join(names)} in securityContext.capabilities.add")
    if faults:
        yield f"unrestricted capabilities ({'; '.join(faults)})"


def _volumes(spec: Object, containers: list[Object]) -> Iterator[str]:  # noqa: ARG001 - as all checks
    bad = {volume["name"]: kind for volume in spec.get("volumes") or () for kind in _kinds(volume) - ALLOWED_VOLUMES}
    for name, kind in bad.items():
        yield f'restricted volume types (volume "{name}" uses restricted volume type "{kind}")'


def _non_root(spec: Object, containers: list[Object]) -> Iterator[str]:
    pod = security(spec).get("runAsNonRoot")
    refuses = [each for each in containers if security(each).get("runAsNonRoot") is False]
    silent = [each for each in containers if security(each).get("runAsNonRoot") is None] if not pod else []
    if refuses:
        yield f"runAsNonRoot != true ({named('container', refuses)} must not set securityContext.runAsNonRoot=false)"
    elif silent:
        who = f"pod or {named('container', silent)}" if pod is None else "pod"
        what = "must set securityContext.runAsNonRoot=true" if pod is None else "must not set it to false"
        yield f"runAsNonRoot != true ({who} {what})"


def _root_user(spec: Object, containers: list[Object]) -> Iterator[str]:
    pod = ["pod"] if security(spec).get("runAsUser") == 0 else []
    bad = [each for each in containers if security(each).get("runAsUser") == 0]
    who = pod + ([named("container", bad)] if bad else [])
    if who:
        yield f"runAsUser=0 ({' and '.join(who)} must not set runAsUser=0)"


def _seccomp(spec: Object, containers: list[Object]) -> Iterator[str]:
    pod = profile(spec)
    bad = [each for each in containers if (profile(each) or pod) not in PROFILES]
    if bad:
        which = named("container", bad)
        what = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        yield f"seccompProfile (pod or {which} {what})"


RESTRICTED: tuple[Check, ...] = (_escalation, _capabilities, _volumes, _non_root, _root_user, _seccomp)


def _kinds(volume: Object) -> set[str]:
    return volume.keys() - {"name"}
