"""Creating, changing and deleting objects; a dry run does all of it but the storing."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.admission import check, decode, with_spec_defaults, with_status
from pgfleet.console.sandbox.kubernetes.refusals import CHANGED, RefusedError, conflict, not_found
from pgfleet.console.sandbox.kubernetes.resources import NAMESPACES
from pgfleet.console.sandbox.kubernetes.rules.new import New
from pgfleet.console.sandbox.kubernetes.validation.data import check_change

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.paths import Target
    from pgfleet.console.sandbox.kubernetes.reading import Way
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record

FIXED_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
NO_OBJECT = "an object is needed in the body of the request"
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Written:
    """The object as it is now, and what the client is warned of."""

    record: Record
    warnings: list[str]


class Writes:
    def __init__(self, cluster: Cluster) -> None:
        self._store = cluster.store
        self._addresses = cluster.addresses
        self._deletions = cluster.deletions
        self._rules = cluster.rules
        self._priorities = cluster.priorities

    def create(self, target: Target, body: Any, way: Way) -> Written:
        plural, namespace = target.resource.plural, target.namespace
        if not isinstance(body, dict):
            raise RefusedError(400, NO_OBJECT)
        if target.resource.namespaced != bool(namespace):
            raise RefusedError(405, "the server does not allow this method on the requested resource")
        if namespace and namespace not in NAMESPACES:
            raise not_found("namespaces", namespace)
        warnings = decode(plural, body, way.strictness)
        _set_system_metadata(body, namespace)
        with_spec_defaults(plural, body)
        check(plural, body)
        with_status(plural, body)
        if plural == "pods":
            self._priorities.resolve(body)
        key = (plural, namespace, body["metadata"]["name"])
        self._rules.check_new(New(key, body, way.is_dry_run))
        if plural == "services" and self._store.get(key) is None:
            self._addresses.assign(key, body)
        return Written(self._store.unsaved(key, body) if way.is_dry_run else self._store.add(key, body), warnings)

    def update(self, target: Target, record: Record, body: Any, way: Way) -> Written:
        """The whole object, but for its status; the status alone for that subresource."""
        if not isinstance(body, dict):
            raise RefusedError(400, NO_OBJECT)
        before = record.body()
        plural = target.resource.plural
        warnings = decode(plural, body, way.strictness)
        metadata = body.setdefault("metadata", {})
        _check_version(target, record, metadata)
        if target.subresource == "status":
            body = before | {"status": body.get("status", {})}
        else:
            _keep_fixed(metadata, before["metadata"])
            with_spec_defaults(plural, body)
            check(plural, body)
            check_change(target.resource.kind, before, body)
            if target.resource.has_status:
                body["status"] = before.get("status", {})
        if way.is_dry_run:
            return Written(record.changed(body), warnings)
        after = self._store.put(record, body)
        self._deletions.finish_if_released(after)
        return Written(after, warnings)

    def delete(self, target: Target, record: Record, options: Object, grace_s: int | None, *, dry_run: bool) -> Record:
        """The object as it is left. Raises `RefusedError` (409) for one that is not the one that was meant."""
        if (options.get("propagationPolicy") or "Background") != "Background":
            raise RefusedError(501, f"the sandbox has no propagationPolicy {options['propagationPolicy']}")
        wanted = options.get("preconditions") or {}
        if (wanted.get("uid") or record.uid) != record.uid:
            why = (
                f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({record.uid})."
                " The object might have been deleted and then recreated"
            )
            raise conflict(target.resource.plural, target.name, why)
        _check_version(target, record, {"resourceVersion": wanted.get("resourceVersion")})
        return self._deletions.delete(record, grace_s, dry_run=dry_run)


def _set_system_metadata(body: Object, namespace: str) -> None:
    metadata = body.setdefault("metadata", {})
    if metadata.get("resourceVersion"):
        raise RefusedError(400, "resourceVersion should not be set on objects to be created")
    if metadata.setdefault("namespace", namespace) != namespace:
        raise RefusedError(400, "the namespace of the provided object does not match the namespace sent on the request")
    if not namespace:
        del metadata["namespace"]
    for field in FIXED_METADATA:
        metadata.pop(field, None)
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = metadata["generateName"] + "".join(random.choices(SUFFIX_LETTERS, k=5))  # noqa: S311 - a name


def _check_version(target: Target, record: Record, metadata: Object) -> None:
    plural, name = target.resource.plural, target.name
    if (metadata.get("name") or name) != name:
        raise RefusedError(400, "the name of the object does not match the name on the URL")
    if (metadata.get("uid") or record.uid) != record.uid:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {record.uid}"
        raise conflict(plural, name, why)
    if (metadata.get("resourceVersion") or str(record.version)) != str(record.version):
        raise conflict(plural, name, CHANGED)


def _keep_fixed(metadata: Object, before: Object) -> None:
    for field in (*FIXED_METADATA, "name", "namespace"):
        metadata.pop(field, None)
        if field in before:
            metadata[field] = before[field]
