"""Pods that their node ends: it is low on something, or it shuts down. They fail, and nobody starts them again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.situations import Step
from pgfleet.console.sandbox.kubernetes.statuses import KILLED_BY_SIGNAL, disrupted, ended, failed_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.situations import Situation

LOW = "The node was low on resource: {}. Threshold quantity: {}, available: {}. "
USES = "Container {} was using {}, request is {}, has larger consumption of {}. "
# Threshold, what is left and what a container uses, by resource.
FIGURES = {"memory": ("100Mi", "52340Ki", "34359738Ki"), "ephemeral-storage": ("10Gi", "9437184Ki", "88432160Ki")}
SHUTDOWN = "Pod was terminated in response to imminent node shutdown."


def evicted_for(at: Situation, resource: str) -> Iterator[Step]:
    threshold, available, usage = FIGURES[resource]
    message = LOW.format(resource, threshold, available)
    for container in at.pod["spec"]["containers"]:
        request = (container["resources"].get("requests") or {}).get(resource, 0)
        message += USES.format(container["name"], usage, request, resource)
    apply = partial(_ended_by_node, reason="Evicted", message=message)
    yield Step(0, apply, (Notice("Warning", "Evicted", message),))


def shut_down(_: Situation) -> Iterator[Step]:
    yield Step(0, partial(_ended_by_node, reason="Terminated", message=SHUTDOWN))


def _ended_by_node(pod: Object, now: str, *, reason: str, message: str) -> None:
    ended(pod, now, KILLED_BY_SIGNAL)
    failed_for(pod, reason, message)
    disrupted(pod, now, "TerminationByKubelet", message)
