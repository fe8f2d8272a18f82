"""What a pod takes from config maps and secrets: a pod waits until they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Store

NAMES_ONE = (b'"configMap"', b'"secret"', b'"configMapKeyRef"', b'"secretKeyRef"', b'"configMapRef"', b'"secretRef"')
KINDS = {"configMap": "configmaps", "secret": "secrets"}
WORDS = {"configmaps": "configmap", "secrets": "secret"}
CALLED = {"configmaps": "ConfigMap", "secrets": "Secret"}
LACKS_KEY = {
    "configmaps": "configmap references non-existent config key",
    "secrets": "references non-existent secret key",
}


def takes_any(raw: bytes) -> bool:
    """Whether a pod, as bytes, could name a config map or a secret."""
    return any(name in raw for name in NAMES_ONE)


def missing_volume(store: Store, pod: Object) -> str:
    """The kubelet's words for a volume that it can't make; empty when all can be made."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        for plural, source in _sources(volume):
            why = _why_missing(store, namespace, plural, source)
            if why:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}'
    return ""


def missing_variable(store: Store, pod: Object) -> str:
    """The words for an environment that can't be made; empty when all can be made."""
    namespace = pod["metadata"]["namespace"]
    for container in pod["spec"]["containers"]:
        for plural, reference, key in _references(container):
            data = _data(store, namespace, plural, reference["name"])
            if reference.get("optional"):
                continue
            if data is None:
                return f'{WORDS[plural]} "{reference["name"]}" not found'
            if key and key not in data:
                return f"couldn't find key {key} in {CALLED[plural]} {namespace}/{reference['name']}"
    return ""


def _sources(volume: Object) -> Iterator[tuple[str, Object]]:
    """As pairs of a resource and what is taken of it."""
    for each in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        for field, plural in KINDS.items():
            if each.get(field):
                name = each[field].get("name") or each[field].get("secretName")
                yield plural, each[field] | {"name": name}


def _why_missing(store: Store, namespace: str, plural: str, source: Object) -> str:
    data = _data(store, namespace, plural, source["name"])
    if source.get("optional"):
        return ""
    if data is None:
        return f'{WORDS[plural]} "{source["name"]}" not found'
    lacking = [item["key"] for item in source.get("items") or () if item["key"] not in data]
    return f"{LACKS_KEY[plural]}: {lacking[0]}" if lacking else ""


def _references(container: Object) -> Iterator[tuple[str, Object, str]]:
    """Resource, reference and key of each variable; the key is empty where all of them are taken."""
    for source in container.get("envFrom") or ():
        for field, plural in KINDS.items():
            if source.get(f"{field}Ref"):
                yield plural, source[f"{field}Ref"], ""
    for variable in container.get("env") or ():
        for field, plural in KINDS.items():
            reference = (variable.get("valueFrom") or {}).get(f"{field}KeyRef")
            if reference:
                yield plural, reference, reference["key"]


def _data(store: Store, namespace: str, plural: str, name: str) -> Object | None:
    record = store.get((plural, namespace, name))
    if record is None:
        return None
    body = record.body()
    found: Object = {}
    for field in ("data", "binaryData", "stringData"):
        found |= body.get(field) or {}
    return found
