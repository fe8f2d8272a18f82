"""The past of the store: the last changes of each resource, for watches that go on and lists as of a version."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import expired
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.selectors import Selector
    from pgfleet.console.sandbox.kubernetes.store import Change, Key, Record, Store


class History:
    """The last `size` changes of each resource; what came before is forgotten, as a compacted etcd does."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._changes: dict[str, deque[Change]] = {plural: deque(maxlen=size) for plural in RESOURCES}
        self._forgotten = dict.fromkeys(RESOURCES, 0)  # the newest version that is no longer known

    def watch(self, change: Change) -> None:
        kept = self._changes[change.record.key[0]]
        if len(kept) == kept.maxlen:
            self._forgotten[change.record.key[0]] = kept[0].record.version
        kept.append(change)

    def forget(self) -> None:
        """Whoever has seen less than what there is now has to list again."""
        for kept in self._changes.values():
            kept.clear()
        self._forgotten = dict.fromkeys(RESOURCES, self._store.version)

    def since(self, resource: str, version: int) -> list[Change]:
        """What came after that version. Raises `RefusedError` (410) when some of it is forgotten."""
        if version < self._forgotten[resource]:
            raise expired(f"too old resource version: {version} ({self._forgotten[resource]})")
        newer: deque[Change] = deque()
        for change in reversed(self._changes[resource]):
            if change.record.version <= version:
                break
            newer.appendleft(change)
        return list(newer)

    def as_of(self, version: int, resource: str, namespace: str, selector: Selector) -> list[Record]:
        """What `Store.select` found at that version. Raises `RefusedError` (410) when it is forgotten."""
        found = {record.key: record for record in self._store.select(resource, namespace, selector)}
        for change in reversed(self.since(resource, version)):
            found.pop(change.record.key, None)
            if change.before and is_selected(change.before, namespace, selector):
                found[change.before.key] = change.before
        return sorted(found.values(), key=_key)


def is_selected(record: Record, namespace: str, selector: Selector) -> bool:
    return namespace in ("", record.key[1]) and selector.matches(record.labels, record.fields)


def _key(record: Record) -> Key:
    return record.key
