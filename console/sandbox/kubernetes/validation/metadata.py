"""Names, labels, annotations and owners, which all objects have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.validation.faults import (
    REQUIRED,
    Faults,
    invalid_value,
    why_no_label_value,
    why_no_old_label,
    why_no_subdomain,
    why_not_qualified,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object

LARGEST_ANNOTATIONS_BYTES = 256 * 1024


def metadata_faults(plural: str, metadata: Object) -> Faults:
    faults = list(_name(plural, metadata.get("name", "")))
    faults += labels_faults("metadata.labels", metadata.get("labels") or {})
    faults += _annotations(metadata.get("annotations") or {})
    for owner in metadata.get("ownerReferences") or ():
        faults += _owner(owner)
    for finalizer in metadata.get("finalizers") or ():
        faults += [("metadata.finalizers", invalid_value(finalizer, why)) for why in why_not_qualified(finalizer)]
    return faults


def labels_faults(place: str, labels: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in labels.items():
        yield from ((place, invalid_value(key, why)) for why in why_not_qualified(key))
        yield from ((place, invalid_value(value, why)) for why in why_no_label_value(value))


def _name(plural: str, name: str) -> Iterator[tuple[str, str]]:
    if not name:
        yield "metadata.name", f"{REQUIRED}: name or generateName is required"
        return
    reasons = why_no_old_label(name) if plural == "services" else why_no_subdomain(name)
    yield from (("metadata.name", invalid_value(name, why)) for why in reasons)


def _annotations(annotations: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Their keys may have capitals in the domain, too."""
    for key in annotations:
        yield from (("metadata.annotations", invalid_value(key, why)) for why in why_not_qualified(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > LARGEST_ANNOTATIONS_BYTES:
        yield "metadata.annotations", f"Too long: may not be more than {LARGEST_ANNOTATIONS_BYTES} bytes"


def _owner(owner: Object) -> Iterator[tuple[str, str]]:
    for field in ("apiVersion", "kind", "name", "uid"):
        if not owner.get(field):
            what = "version " if field == "apiVersion" else ""
            yield f"metadata.ownerReferences.{field}", invalid_value("", f"{what}must not be empty")
