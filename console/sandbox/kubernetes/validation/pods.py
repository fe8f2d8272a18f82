"""What a pod must look like: its containers, their variables and mounts, and its volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.validation.amounts import resources_faults
from pgfleet.console.sandbox.kubernetes.validation.faults import (
    REQUIRED,
    Faults,
    invalid_value,
    unsupported,
    why_no_label,
)
from pgfleet.console.sandbox.kubernetes.validation.metadata import labels_faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object

NO_VARIABLE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
RESTARTS = ("Always", "OnFailure", "Never")


def pod_faults(body: Object) -> Faults:
    spec = body.get("spec") or {}
    volumes = spec.get("volumes") or []
    faults = list(_names("spec.volumes", volumes))
    names = {volume.get("name") for volume in volumes}
    if not spec.get("containers"):
        faults.append(("spec.containers", REQUIRED))
    for kind in ("containers", "initContainers"):
        containers = spec.get(kind) or []
        faults += _names(f"spec.{kind}", containers)
        for index, container in enumerate(containers):
            faults += _container(f"spec.{kind}[{index}]", container, names)
    if spec.get("restartPolicy", "Always") not in RESTARTS:
        faults.append(("spec.restartPolicy", unsupported(spec["restartPolicy"], *RESTARTS)))
    faults += labels_faults("spec.nodeSelector", spec.get("nodeSelector") or {})
    return faults


def _names(place: str, things: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """Each has one of its own."""
    seen: set[str] = set()
    for index, thing in enumerate(things):
        name, field = thing.get("name", ""), f"{place}[{index}].name"
        if not name:
            yield field, REQUIRED
        elif name in seen:
            yield field, f'Duplicate value: "{name}"'
        else:
            yield from ((field, invalid_value(name, why)) for why in why_no_label(name))
        seen.add(name)


def _container(place: str, container: Object, volumes: set[str]) -> Iterator[tuple[str, str]]:
    image = container.get("image", "")
    if not image:
        yield f"{place}.image", REQUIRED
    elif image != image.strip():
        yield f"{place}.image", invalid_value(image, "must not have leading or trailing whitespace")
    for index, port in enumerate(container.get("ports") or ()):
        if not 0 < port.get("containerPort", 0) < 65_536:
            why = invalid_value(port.get("containerPort", 0), "must be between 1 and 65535, inclusive")
            yield f"{place}.ports[{index}].containerPort", why
    for index, variable in enumerate(container.get("env") or ()):
        yield from _variable(f"{place}.env[{index}].name", variable.get("name", ""))
    yield from _mounts(f"{place}.volumeMounts", container.get("volumeMounts") or (), volumes)
    yield from resources_faults(f"{place}.resources", container.get("resources") or {})


def _variable(field: str, name: str) -> Iterator[tuple[str, str]]:
    if not name:
        yield field, REQUIRED
    elif not all(" " <= letter <= "~" and letter != "=" for letter in name):
        yield field, invalid_value(name, NO_VARIABLE)


def _mounts(place: str, mounts: Iterable[Object], volumes: set[str]) -> Iterator[tuple[str, str]]:
    """A `:` in a path is taken here; the node's runtime does not take it."""
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        field, name, path = f"{place}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield f"{field}.name", REQUIRED
        if name not in volumes:
            yield f"{field}.name", f'Not found: "{name}"'
        if not path:
            yield f"{field}.mountPath", REQUIRED
        if path in paths:
            yield f"{field}.mountPath", invalid_value(path, "must be unique")
        paths.add(path)
