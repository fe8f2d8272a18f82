"""The objects of the cluster as encoded records, their versions and the indexes over them.

A record is its bytes: reading one parses a fresh copy, so nothing is shared by accident, and an answer
is sent without encoding it again. Listeners are called inside a write and must not write.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeVar

import orjson

from pgfleet.console.sandbox.kubernetes.refusals import already_exists, storage
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES, Object, fields_of
from pgfleet.console.sandbox.kubernetes.selectors import EVERYTHING, Selector

LARGEST_BYTES = 1536 * 1024  # that etcd takes
FINISHED = ("Succeeded", "Failed")  # phases of pods

Key = tuple[str, str, str]  # resource, namespace ("" for the cluster), name
ChangeKind = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Record:
    key: Key
    uid: str
    version: int
    labels: dict[str, str]
    fields: dict[str, str]
    owners: tuple[str, ...]  # uids
    deleting: bool
    raw: bytes

    def body(self) -> Object:
        parsed: Object = orjson.loads(self.raw)
        return parsed

    def changed(self, body: Object) -> Record:
        """The same with another body, which is stored nowhere."""
        return _record(self.key, self.version, body)


@dataclass(frozen=True, slots=True)
class Change:
    kind: ChangeKind
    record: Record
    before: Record | None


CLUSTER_KINDS = {resource.kind for resource in RESOURCES.values() if not resource.namespaced}

T = TypeVar("T")
Listener = Callable[[Change], None]
Term = tuple[str, str, str, str]  # resource, "label" or "field", key, value


def timestamp(in_s: float = 0) -> str:
    return _format(int(time.time() + in_s))


@lru_cache(maxsize=64)
def _format(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Every object by resource, namespace and name."""

    def __init__(self) -> None:
        self.version = 1
        self.listeners: list[Listener] = []
        self._spaces: dict[str, dict[str, dict[str, Record]]] = {plural: {} for plural in RESOURCES}
        self._terms: dict[Term, dict[Key, None]] = {}
        self._by_uid: dict[str, Key] = {}
        self._by_owner: dict[str, dict[Key, None]] = {}

    def get(self, key: Key) -> Record | None:
        return self._spaces[key[0]].get(key[1], {}).get(key[2])

    def by_uid(self, uid: str) -> Record | None:
        key = self._by_uid.get(uid)
        return self.get(key) if key else None

    def dependents(self, uid: str) -> list[Record]:
        found = (self.get(key) for key in self._by_owner.get(uid, ()))
        return [record for record in found if record]

    def count(self, resource: str) -> int:
        return sum(len(space) for space in self._spaces[resource].values())

    def add(self, key: Key, body: Object) -> Record:
        """Stores a new object under a new uid. Raises `RefusedError` (409) when the name is taken."""
        self._name(key, body)
        return self._write("ADDED", key, body, None)

    def unsaved(self, key: Key, body: Object) -> Record:
        """What `add` would store: of no version. Raises the same."""
        self._name(key, body)
        return _record(key, 0, body)

    def put(self, before: Record, body: Object) -> Record:
        """Stores a new version of `before`; one that changes nothing is no version."""
        body["metadata"]["resourceVersion"] = str(before.version)
        if orjson.dumps(body) == before.raw:
            return before
        return self._write("MODIFIED", before.key, body, before)

    def remove(self, before: Record) -> Record:
        self.version += 1
        body = before.body()
        body["metadata"]["resourceVersion"] = str(self.version)
        record = _record(before.key, self.version, body)
        del self._spaces[before.key[0]][before.key[1]][before.key[2]]
        self._unindex(before)
        self._by_uid.pop(before.uid, None)
        self._announce(Change("DELETED", record, before))
        return record

    def select(self, resource: str, namespace: str = "", selector: Selector = EVERYTHING) -> list[Record]:
        """In the order of their names; an empty namespace means all of them."""
        candidates = self._candidates(resource, namespace, selector)
        chosen = [record for record in candidates if selector.matches(record.labels, record.fields)]
        return sorted(chosen, key=lambda record: record.key)

    def _name(self, key: Key, body: Object) -> None:
        if self.get(key):
            raise already_exists(key[0], key[2])
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}

    def _write(self, kind: ChangeKind, key: Key, body: Object, before: Record | None) -> Record:
        body["metadata"]["resourceVersion"] = str(self.version + 1)
        record = _record(key, self.version + 1, body)
        if len(record.raw) > LARGEST_BYTES:
            raise storage("request is too large")
        self.version += 1
        self._spaces[key[0]].setdefault(key[1], {})[key[2]] = record
        self._reindex(before, record)
        self._announce(Change(kind, record, before))
        return record

    def _announce(self, change: Change) -> None:
        for listener in self.listeners:
            listener(change)

    def _candidates(self, resource: str, namespace: str, selector: Selector) -> Iterable[Record]:
        spaces = self._spaces[resource]
        equalities = selector.equalities()
        if not equalities:
            chosen = [spaces.get(namespace, {})] if namespace else spaces.values()
            return [record for space in chosen for record in space.values()]
        buckets = [self._terms.get((resource, *term), {}) for term in equalities]
        records = (self.get(key) for key in min(buckets, key=len))
        return [record for record in records if record and namespace in ("", record.key[1])]

    def _reindex(self, before: Record | None, record: Record) -> None:
        if before and (before.labels, before.fields, before.owners) == (
            record.labels,
            record.fields,
            record.owners,
        ):
            return
        if before:
            self._unindex(before)
        self._by_uid[record.uid] = record.key
        for term in _terms(record):
            self._terms.setdefault(term, {})[record.key] = None
        for owner in record.owners:
            self._by_owner.setdefault(owner, {})[record.key] = None

    def _unindex(self, record: Record) -> None:
        for term in _terms(record):
            _discard(self._terms, term, record.key)
        for owner in record.owners:
            _discard(self._by_owner, owner, record.key)


def _discard(buckets: dict[T, dict[Key, None]], term: T, key: Key) -> None:
    bucket = buckets.get(term)
    if bucket is None:
        return
    bucket.pop(key, None)
    if not bucket:
        del buckets[term]


def _terms(record: Record) -> list[Term]:
    resource = record.key[0]
    terms = [(resource, "label", key, value) for key, value in record.labels.items()]
    return terms + [(resource, "field", key, value) for key, value in record.fields.items()]


def _record(key: Key, version: int, body: Object) -> Record:
    metadata = body["metadata"]
    return Record(
        key=key,
        uid=metadata["uid"],
        version=version,
        labels=metadata.get("labels") or {},
        fields=fields_of(RESOURCES[key[0]], body),
        owners=_owners(key, metadata),
        deleting="deletionTimestamp" in metadata,
        raw=orjson.dumps(body),
    )


def _owners(key: Key, metadata: Object) -> tuple[str, ...]:
    """The uids; what belongs to the cluster is never collected for an owner in a namespace."""
    references = metadata.get("ownerReferences") or ()
    return tuple(owner["uid"] for owner in references if key[1] or owner["kind"] in CLUSTER_KINDS)
