"""The bodies of a home's volume and claim, and what can be seen of those that are there."""

from dataclasses import dataclass
from typing import Any

from pgfleet.workers.clients.kubernetes.pod import RESERVATION_ID
from pgfleet.workers.clients.kubernetes.zones import ZONE

DRIVER = "ebs.csi.aws.com"
ACCESS = ["ReadWriteOnce"]


@dataclass(frozen=True, slots=True)
class Home:
    """What a volume and a claim are made of; both have this name. `pod` is the pod's name, `volume_id` is EBS's."""

    name: str
    reservation_id: str
    pod: str
    volume_id: str
    size_gb: int
    zone: str


@dataclass(frozen=True, slots=True)
class Part:
    """A volume or a claim as it was when it was read.

    Attributes:
        source: what it stands for: a volume's EBS volume, a claim's volume.
        usable: False for one that no pod can be given any more: a volume whose claim is gone, or the other way.
    """

    uid: str
    reservation_id: str | None
    source: str | None
    deleting: bool
    usable: bool


def volume_body(home: Home, namespace: str) -> dict[str, Any]:
    """It names its claim, so that no other claim takes it; EBS volumes are deleted elsewhere, never by Kubernetes."""
    here = {"key": ZONE, "operator": "In", "values": [home.zone]}
    return {
        "metadata": _metadata(home),
        "spec": {
            "capacity": {"storage": f"{home.size_gb}Gi"},
            "accessModes": ACCESS,
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "csi": {"driver": DRIVER, "volumeHandle": home.volume_id, "fsType": "ext4"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": home.name,
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def claim_body(home: Home, namespace: str) -> dict[str, Any]:
    """Without a storage class, so that nothing is provisioned for it."""
    return {
        "metadata": _metadata(home) | {"namespace": namespace},
        "spec": {
            "storageClassName": "",
            "volumeName": home.name,
            "accessModes": ACCESS,
            "resources": {"requests": {"storage": f"{home.size_gb}Gi"}},
        },
    }


def volume_part(volume: Any) -> Part:
    csi = volume.spec.csi if volume.spec else None
    return _part(volume, csi.volume_handle if csi and csi.driver == DRIVER else None)


def claim_part(claim: Any) -> Part:
    return _part(claim, claim.spec.volume_name if claim.spec else None)


def owner_of(thing: Any) -> str | None:
    """The reservation that a volume or a claim was made for."""
    found: str | None = (thing.metadata.annotations or {}).get(RESERVATION_ID)
    return found


def _part(thing: Any, source: str | None) -> Part:
    return Part(
        uid=thing.metadata.uid,
        reservation_id=owner_of(thing),
        source=source,
        deleting=thing.metadata.deletion_timestamp is not None,
        usable=(thing.status.phase if thing.status else None) not in ("Released", "Failed", "Lost"),
    )


def _metadata(home: Home) -> dict[str, Any]:
    return {
        "name": home.name,
        "labels": {"reservation": home.pod, "app.kubernetes.io/managed-by": "pgfleet"},
        "annotations": {RESERVATION_ID: home.reservation_id},
    }
