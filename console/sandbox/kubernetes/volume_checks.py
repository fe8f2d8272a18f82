"""What a volume or a claim must look like, and what it is given when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity
from pgfleet.console.sandbox.kubernetes.refusals import invalid
from pgfleet.console.sandbox.kubernetes.volumes import PROTECTION

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object


def check_volume(name: str, body: Object) -> None:
    """Raises `RefusedError` (422)."""
    spec = body.setdefault("spec", {})
    _check_modes("PersistentVolume", name, spec)
    _check_storage("PersistentVolume", name, "spec.capacity", spec.get("capacity") or {})
    csi = spec.get("csi")
    if csi is None:
        raise invalid("PersistentVolume", name, "spec", "Required value: must specify a volume type")
    for field in ("driver", "volumeHandle"):
        if not csi.get(field):
            raise invalid("PersistentVolume", name, f"spec.csi.{field}", "Required value")


def check_claim(name: str, body: Object) -> None:
    """Raises `RefusedError` (422)."""
    spec = body.setdefault("spec", {})
    _check_modes("PersistentVolumeClaim", name, spec)
    requests = (spec.get("resources") or {}).get("requests") or {}
    _check_storage("PersistentVolumeClaim", name, "spec.resources", requests)


def with_volume_defaults(plural: str, body: Object) -> None:
    body["metadata"]["finalizers"] = [*(body["metadata"].get("finalizers") or ()), PROTECTION[plural]]
    body["spec"].setdefault("volumeMode", "Filesystem")
    if plural == "persistentvolumes":
        body["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")
    body["status"] = {"phase": "Available" if plural == "persistentvolumes" else "Pending"}


def _check_modes(kind: str, name: str, spec: Object) -> None:
    if not spec.get("accessModes"):
        raise invalid(kind, name, "spec.accessModes", "Required value: at least 1 access mode is required")


def _check_storage(kind: str, name: str, place: str, amounts: Object) -> None:
    if "storage" not in amounts:
        raise invalid(kind, name, f"{place}[storage]", "Required value")
    try:
        parse_quantity("storage", amounts["storage"])
    except ValueError as error:
        why = f'Invalid value: "{amounts["storage"]}": {error}'
        raise invalid(kind, name, f"{place}[storage]", why) from error
