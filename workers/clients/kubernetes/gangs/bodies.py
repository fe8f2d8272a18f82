"""What a gang adds to each of its pods, and the bodies of what it has beside them.

    <pod>-headless                a service without an address: by its name each node is found, on whatever port
    <first pod>-gang              a config map with the gang's public key, which owns the two that follow
      <first pod>-gang-<hash>     the secret with its SSH keys, in a folder of each pod; nobody but the pods reads it
      <first pod>-gang-<hash>     the network policy that lets its pods in to each other

The hash is of the public key: what is left of another pair has another name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.gangs.keypair import KeyPair
from pgfleet.workers.clients.kubernetes.manifest import labels, owned
from pgfleet.workers.clients.kubernetes.names import (
    GANG_FOLDER,
    GANG_KEY,
    GANG_LABEL,
    GANG_PUBLIC_KEY,
    GANG_SSH_CONFIG,
    KEYS_FILE,
    gang_name,
    headless_name,
)
from pgfleet.workers.clients.kubernetes.pod import RESERVATION_ID

MASTER_PORT = 29500
HOSTNAME = "kubernetes.io/hostname"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
# SSH takes a key of root's only where nobody else may read it, and whoever is not root has to read it.
OWNERS_ONLY, EVERYBODYS = 0o400, 0o444


@dataclass(frozen=True, slots=True)
class Gang:
    """`pods` are named node by node; `placement` are the labels that a node has to have for any of them."""

    reservation_id: str
    pods: Sequence[str]
    gpus: int
    placement: Mapping[str, str]

    @property
    def first(self) -> str:
        return self.pods[0]


def in_gang(body: dict[str, Any], gang: Gang, rank: int, public_key: str) -> dict[str, Any]:
    """The pod as one of a gang with this key, whatever else its template asks of it."""
    spec = body["spec"]
    body["metadata"]["labels"][GANG_LABEL] = gang.first
    spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **gang.placement}
    _place(spec.setdefault("affinity", {}), gang)
    (container,) = spec["containers"]
    ours = variables(gang, rank)
    kept = [each for each in container["env"] if each["name"] not in ours]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in ours.items())]
    container["volumeMounts"].append({"name": "gang", "mountPath": GANG_FOLDER, "readOnly": True})
    spec["volumes"].append({"name": "gang", "secret": _files(gang, public_key)})
    return body


def variables(gang: Gang, rank: int) -> dict[str, str]:
    """As torchrun takes them. WORLD_SIZE counts processes: one a GPU, or one a node where there are no GPUs."""
    return {
        "MASTER_ADDR": headless_name(gang.first),
        "MASTER_PORT": str(MASTER_PORT),
        "NNODES": str(len(gang.pods)),
        "NODE_RANK": str(rank),
        "WORLD_SIZE": str(len(gang.pods) * max(gang.gpus, 1)),
    }


def _place(affinity: dict[str, Any], gang: Gang) -> None:
    """Each pod on a node of its own, and all of them on one side of whatever the placement names."""
    same = {"labelSelector": {"matchLabels": {GANG_LABEL: gang.first}}}
    apart = affinity.setdefault("podAntiAffinity", {})
    apart[REQUIRED] = [*apart.get(REQUIRED, ()), {**same, "topologyKey": HOSTNAME}]
    if gang.placement:
        near = affinity.setdefault("podAffinity", {})
        near[REQUIRED] = [*near.get(REQUIRED, ()), *({**same, "topologyKey": key} for key in sorted(gang.placement))]


def _files(gang: Gang, public_key: str) -> dict[str, Any]:
    """The key is there twice: once as root's ssh takes it, once as everybody else's does."""
    items = [
        {"key": GANG_KEY, "path": f"root/{GANG_KEY}", "mode": OWNERS_ONLY},
        *({"key": key, "path": key, "mode": EVERYBODYS} for key in (GANG_KEY, GANG_PUBLIC_KEY, GANG_SSH_CONFIG)),
    ]
    return {"secretName": hashed_name(gang, public_key), "items": items}


def ssh_config(gang: Gang) -> str:
    """For `ssh -F`, or to be included: the hosts rank-0, rank-1 and so on."""
    hosts = "".join(f"Host rank-{rank}\n  HostName {headless_name(pod)}\n" for rank, pod in enumerate(gang.pods))
    return (
        f"{hosts}Host rank-*\n"
        "  User dev\n"
        f"  IdentityFile {GANG_FOLDER}/root/{GANG_KEY}\n"
        f"  IdentityFile {GANG_FOLDER}/{GANG_KEY}\n"
        "  IdentitiesOnly yes\n"
        # Pods have a new host key each time they start; nobody else answers by these names.
        "  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n"
        "  LogLevel ERROR\n"
    )


def hashed_name(gang: Gang, public_key: str) -> str:
    """The name of what goes with this key."""
    return f"{gang_name(gang.first)}-{sha256(public_key.encode()).hexdigest()[:10]}"


def public_body(gang: Gang, public_key: str, namespace: str) -> dict[str, Any]:
    """None of its pods owns it: one may be made anew, and the others know the key by then. Teardown deletes it."""
    return {"metadata": _metadata(gang, gang_name(gang.first), namespace), "data": {KEYS_FILE: f"{public_key}\n"}}


def secret_body(gang: Gang, pair: KeyPair, owner_uid: str, namespace: str) -> dict[str, Any]:
    files = {GANG_KEY: pair.private, GANG_PUBLIC_KEY: f"{pair.public}\n", GANG_SSH_CONFIG: ssh_config(gang)}
    metadata = _metadata(gang, hashed_name(gang, pair.public), namespace, owner_uid)
    return {"metadata": metadata, "type": "Opaque", "immutable": True, "stringData": files}


def policy_body(gang: Gang, public_key: str, owner_uid: str, namespace: str) -> dict[str, Any]:
    """Its pods may send to each other on every port, and nobody else is let in by it."""
    members: dict[str, Any] = {"podSelector": {"matchLabels": {GANG_LABEL: gang.first}}}
    rules = {"ingress": [{"from": [members]}], "egress": [{"to": [members]}]}
    metadata = _metadata(gang, hashed_name(gang, public_key), namespace, owner_uid)
    return {"metadata": metadata, "spec": {**members, "policyTypes": ["Ingress", "Egress"], **rules}}


def headless_body(row: Row, pod_uid: str, namespace: str) -> dict[str, Any]:
    """It leads to a pod before that is ready: a node waits for the others."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"reservation": row.pod_name},
        "ports": [{"name": "gang", "port": MASTER_PORT, "targetPort": MASTER_PORT, "protocol": "TCP"}],
    }
    return {"metadata": owned(row, headless_name(row.pod_name), pod_uid, namespace), "spec": spec}


def _metadata(gang: Gang, name: str, namespace: str, owner_uid: str | None = None) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": gang_name(gang.first), "uid": owner_uid}
    return {
        "name": name,
        "namespace": namespace,
        "labels": labels(gang.first),
        "annotations": {RESERVATION_ID: gang.reservation_id},
        **({"ownerReferences": [owner]} if owner_uid else {}),
    }
