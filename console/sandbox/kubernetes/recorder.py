"""Events about objects, of both kinds: a repeated one is counted instead of stored again.

Kubelets and controllers count each repeat. The scheduler writes the newer kind: nothing is counted at first, a repeat
begins a series of two, and what comes after that is told only when the series ends.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.store import Key, Record, Store, timestamp

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object


@dataclass(frozen=True, slots=True)
class Notice:
    """With an `action` it is an event of the newer kind."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    source: str = "kubelet"
    action: str = ""


class Recorder:
    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, about: Record, notice: Notice) -> None:
        """The first time an `Event` of its own, then the same one, counted."""
        key = _event_key(about, notice)
        known = self._store.get(key)
        if known is None:
            self._store.add(key, _event(key, about, notice))
        elif not notice.action:
            body = known.body()
            body |= {"count": body["count"] + 1, "lastTimestamp": timestamp()}
            self._store.put(known, body)
        elif known.body().get("series") is None:
            self._store.put(known, known.body() | {"series": {"count": 2, "lastObservedTime": _exact_time()}})


def _event_key(about: Record, notice: Notice) -> Key:
    """The same key for the same event, so that a repeat is found by it; in a series the words may differ."""
    words = "" if notice.action else notice.message
    mark = zlib.crc32(f"{about.uid}/{notice.reason}/{words}".encode())
    return ("events", about.key[1] or "default", f"{about.key[2]}.{mark:08x}")


def _event(key: Key, about: Record, notice: Notice) -> Object:
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
        "reportingComponent": notice.source,
    } | (_newer(notice) if notice.action else _counted(about, notice))


def _newer(notice: Notice) -> Object:
    return {
        "source": {},
        "reportingInstance": f"{notice.source}-sandbox",
        "action": notice.action,
        "eventTime": _exact_time(),
        "firstTimestamp": None,
        "lastTimestamp": None,
    }


def _counted(about: Record, notice: Notice) -> Object:
    now = timestamp()
    host = about.fields.get("spec.nodeName", "") if notice.source == "kubelet" else ""
    return {
        "source": {"component": notice.source} | ({"host": host} if host else {}),
        "reportingInstance": host,
        "eventTime": None,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _exact_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
