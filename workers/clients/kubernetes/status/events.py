"""What events say about a pod: words for people, and never what is decided by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from pgfleet.workers.clients.kubernetes.status.containers import words
from pgfleet.workers.runtime.outcomes import NeverError, NoPlaceError, NotNowError

TAKEN_AWAY = frozenset({"Preempted", "Preempting", "Evicted", "TaintManagerEviction", "NodeShutdown"})
# A kubelet gets an image when all that comes before it is done.
GETS_IMAGE = frozenset({"Pulling", "Pulled", "BackOff"})
# What comes before it: volumes, devices, a network.
NOT_MADE = frozenset(
    {
        "FailedAttachVolume",
        "FailedMount",
        "FailedMapVolume",
        "FailedCreatePodSandBox",
        "FailedPrepareDynamicResources",
        "NetworkNotReady",
    }
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Making:
    """How far a node is with a pod: whether it has come to the image, and what keeps it from that."""

    gets_image: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Events:
    """Those of one namespace. Each look is worth one short try."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float

    def disruption(self, name: str, uid: str) -> str | None:
        """Why a pod that is gone was taken away; None where none says."""
        told = [event for event in self._of(name, uid) if event.reason in TAKEN_AWAY]
        return _text(told[-1]) if told else None

    def making(self, name: str, uid: str) -> Making:
        """What is said of a pod whose containers are not made yet."""
        events = self._of(name, uid)
        told = [event for event in events if event.reason in NOT_MADE]
        return Making(any(event.reason in GETS_IMAGE for event in events), _text(told[-1]) if told else "")

    def _of(self, name: str, uid: str) -> list[Any]:
        selector = f"involvedObject.name={name},involvedObject.uid={uid}"
        found = by_the_way(
            lambda: self.api.list_namespaced_event(
                self.namespace, field_selector=selector, _request_timeout=self.timeout_s
            )
        )
        return found.items if found else []


def by_the_way(call: Callable[[], R]) -> R | None:
    """The answer, or None: worth one short try, past the breaker, which a node that is silent must not open for all."""
    try:
        return call()
    except (ApiException, HTTPError, NeverError, NotNowError, NoPlaceError):
        return None


def _text(event: Any) -> str:
    return f"{event.reason}: {words(event.message)}"
