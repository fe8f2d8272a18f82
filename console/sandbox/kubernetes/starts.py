"""Orders by which the next pods start in another way than their images say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.behaviours import REJECTIONS, Start, start_named
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.rejections import MESSAGES
from pgfleet.console.sandbox.orders import Orders

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.store import Record


@dataclass(slots=True)
class Order:
    """The next `times` pods whose name and whose node's name match start so; `pods` and `nodes` are searched for."""

    start: str
    pods: re.Pattern[str]
    nodes: re.Pattern[str]
    times: int = 1
    trouble_s: float | None = None

    def matches(self, pod: Record) -> bool:
        return bool(self.pods.search(pod.key[2]) and self.nodes.search(pod.fields["spec.nodeName"]))


class Starts:
    def __init__(self) -> None:
        self.orders: Orders[Order] = Orders()

    def order(self, wanted: dict[str, Any]) -> None:
        """Raises `RefusedError` (400) for an order that can't be read."""
        try:
            patterns = {name: re.compile(wanted.get(name, "")) for name in ("pods", "nodes")}
            order = Order(**wanted | patterns)
        except (TypeError, re.error) as error:
            raise RefusedError(400, f"a start has a name, and pods as a regular expression: {error}") from error
        if order.start not in REJECTIONS:
            start_named(order.start)
        self.orders.add(order)

    def take(self, pod: Record, usual: Start) -> tuple[Start, tuple[str, str] | None]:
        """How the pod starts, or reason and message with which it is rejected."""
        order = self.orders.take(lambda order: order.matches(pod))
        if order is None:
            return usual, None
        if order.start in REJECTIONS:
            return usual, (order.start, MESSAGES[order.start])
        start = start_named(order.start)
        return Start(start.script, start.trouble_s if order.trouble_s is None else order.trouble_s), None
