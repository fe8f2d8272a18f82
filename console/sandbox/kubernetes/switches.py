"""The switches of the simulated cluster: how pods start and behave, what nodes and the scheduler do, priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.lifecycle import DRAIN
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.resources import Object


def switch(cluster: Cluster, method: str, path: list[str], body: Object) -> None:
    """Does what `sandbox.manual` says of these paths. Raises `RefusedError`, 404 where there is no such switch."""
    match method, path:
        case "POST", ["pods", namespace, name] if body.get("behave") == DRAIN:
            cluster.lifecycle.drain(("pods", namespace, name))
        case "POST", ["pods", namespace, name]:
            cluster.kubelet.act(("pods", namespace, name), str(body.get("behave", "")))
        case "POST", ["starts"]:
            cluster.kubelet.starts.order(body)
        case "DELETE", ["starts"]:
            cluster.kubelet.starts.orders.clear()
        case "POST", ["nodes", name]:
            cluster.lifecycle.order(name, body)
        case "POST", ["scheduler"]:
            _switch_scheduler(cluster, is_down=bool(body.get("down")))
        case "POST", ["priorities"]:
            cluster.priorities.order(body)
        case _:
            raise RefusedError(404, f"the sandbox has no {method} of {'/'.join(path)}")


def _switch_scheduler(cluster: Cluster, *, is_down: bool) -> None:
    turn = cluster.scheduler.stop if is_down else cluster.scheduler.go_on
    turn()
