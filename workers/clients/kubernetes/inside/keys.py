"""The file of SSH keys in a pod that runs: more keys are added to its config map, and its kubelet is told at once."""

from collections.abc import Sequence
from typing import Any

from pgfleet.workers.clients.kubernetes.answers import asked
from pgfleet.workers.clients.kubernetes.names import KEYS_FILE, WITHOUT_KEYS, keys_name
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.pods import Pods
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

# A config map holds 1 MiB.
KEYS_LIMIT_BYTES = 1_000_000
# Of the pod. A kubelet brings files of a config map up to date once a minute or so, and whenever the pod changes.
KEYS_VERSION = "pgfleet/keys-version"


def add_keys(pods: Pods, pod: PodState, user: str, keys: Sequence[str]) -> None:
    """Let the holders of these keys into a pod as well; done twice, it is as done once.

    Raises:
        TryAgainError: the config map is not there yet, or somebody else has just changed it.
        NeverError: it can't hold so many.
    """
    name = keys_name(pod.name)
    found = pods.config_map(name)
    if found is None or not found.metadata.owner_references or found.metadata.owner_references[0].uid != pod.uid:
        raise TryAgainError(f"{name} is not there yet")
    known = ((found.data or {}).get(KEYS_FILE) or "").splitlines()
    text = "".join(f"{key}\n" for key in [*known, *(key for key in keys if key not in known)])
    if len(text.encode()) > KEYS_LIMIT_BYTES:
        raise NeverError(f"a pod can be given {KEYS_LIMIT_BYTES:,} bytes of SSH keys, and these would be more")
    said = (found.metadata.annotations or {}).get(WITHOUT_KEYS, "").split(",")
    without = [each for each in said if each and each != user] + ([] if keys else [user])
    # The version makes it a change of what was read, and of nothing that has come since.
    metadata = {"resourceVersion": found.metadata.resource_version, "annotations": {WITHOUT_KEYS: ",".join(without)}}
    changed: Any = asked(
        lambda: pods.api.patch_namespaced_config_map(
            name, pods.namespace, {"metadata": metadata, "data": {KEYS_FILE: text}}, _request_timeout=pods.timeout_s
        )
    )
    _tell_kubelet(pods, pod, changed.metadata.resource_version)


def _tell_kubelet(pods: Pods, pod: PodState, version: str) -> None:
    """Exactly this pod's: another of its name has read the keys when it was made."""
    body = {"metadata": {"uid": pod.uid, "annotations": {KEYS_VERSION: version}}}
    asked(lambda: pods.api.patch_namespaced_pod(pod.name, pods.namespace, body, _request_timeout=pods.timeout_s))
