"""Events about objects: a repeated one is counted instead of stored again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.store import Key, Record, Store, timestamp


@dataclass(frozen=True, slots=True)
class Notice:
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    source: str


class Recorder:
    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, about: Record, notice: Notice) -> None:
        """The first time an `Event` of its own, then a higher count and a later timestamp on the same one."""
        key = _event_key(about, notice.reason)
        known = self._store.get(key)
        if known is None:
            self._store.add(key, _event(key, about, notice))
            return
        body = known.body()
        body |= {"count": body["count"] + 1, "lastTimestamp": timestamp(), "message": notice.message}
        self._store.put(known, body)


def _event_key(about: Record, reason: str) -> Key:
    """The same key for the same reason about the same object, so that a repeated event is found by it."""
    mark = zlib.crc32(f"{about.uid}/{reason}".encode())
    return ("events", about.key[1] or "default", f"{about.key[2]}.{mark:08x}")


def _event(key: Key, about: Record, notice: Notice) -> dict[str, object]:
    now = timestamp()
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": key[2], "namespace": key[1]},
        "involvedObject": {
            "kind": RESOURCES[about.key[0]].kind,
            "apiVersion": "v1",
            "namespace": about.key[1],
            "name": about.key[2],
            "uid": about.uid,
            "resourceVersion": str(about.version),
        },
        "type": notice.type,
        "reason": notice.reason,
        "message": notice.message,
        "source": {"component": notice.source},
        "reportingComponent": notice.source,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
