"""Events about pods of reservations, as the watch tells them: kept for the timeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pgfleet.schema.environment.fleet import is_pod_name
from pgfleet.schema.printable import cut, printable
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.pods import Pods
from pgfleet.workers.reservation.cluster.book import Book

LONGEST = 1000


class Unkept:
    """Nothing is kept of events but what is written."""

    def in_touch(self) -> None:
        """Nobody asks."""

    def out_of_touch(self) -> None:
        """Nobody asks."""


@dataclass
class EventFollower:
    """Events of one namespace, about pods of this fleet."""

    pods: Pods
    book: Book
    known: Unkept = field(default_factory=Unkept)

    def begin(self) -> None:
        """What the list has is written as all else: once."""

    def listed(self, things: Sequence[Any]) -> None:
        ours = [_as_written(thing, self._seen(thing)) for thing in things if self._is_ours(thing)]
        if ours:
            self.book.pod_events(ours)

    def whole(self) -> None:
        """What is not among them is kept."""

    def changed(self, thing: Any) -> None:
        if self._is_ours(thing):
            self.book.pod_events([_as_written(thing, self._seen(thing) or self._asked(thing))])

    def removed(self, thing: Any) -> None:
        """The cluster forgets them after an hour, and we don't."""

    def _seen(self, event: Any) -> PodState | None:
        """The pod as another follower has seen it."""
        return self.pods.seen.pods.find(event.involved_object.name)

    def _asked(self, event: Any) -> PodState | None:
        """The first events of a pod may come before the pod itself; of one that is gone nobody asks."""
        return self.pods.find(event.involved_object.name)

    def _is_ours(self, event: Any) -> bool:
        about = event.involved_object
        return about.kind == "Pod" and is_pod_name(about.name or "", self.pods.fleet) and bool(about.uid)


def _as_written(event: Any, pod: PodState | None) -> dict[str, Any]:
    about, series = event.involved_object, event.series.count if event.series else None
    return {
        "event_uid": event.metadata.uid,
        "pod_name": about.name,
        "pod_uid": about.uid,
        "reservation_id": pod.reservation_id if pod is not None and pod.uid == about.uid else None,
        "is_warning": event.type == "Warning",
        "reason": cut(printable(event.reason or ""), LONGEST),
        "message": cut(printable(event.message or ""), LONGEST),
        "count": max(event.count or 1, series or 1),
    }
