"""`/_sandbox`: the switches by which tests and the demo steer the sandbox, and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.hopsworks.control import HopsworksControl
from pgfleet.console.sandbox.kubernetes.nodes import GPU_TYPE_LABEL, NodeGroup, add_nodes
from pgfleet.console.sandbox.kubernetes.reading import read_body
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.switches import switch
from pgfleet.console.sandbox.kubernetes.volume_state import volume_state

if TYPE_CHECKING:
    from aiohttp import web

    from pgfleet.console.sandbox.faults import Faults
    from pgfleet.console.sandbox.hopsworks.servers import Hopsworks
    from pgfleet.console.sandbox.kubernetes.cluster import Cluster

PREFIX = "/_sandbox/"
WATCHES = ("cut", "drop", "expire", "stall", "resume", "bookmark")  # methods of `Watchers`


class Control:
    def __init__(self, cluster: Cluster, faults: Faults, hopsworks: Hopsworks) -> None:
        self._cluster = cluster
        self._faults = faults
        self._hopsworks = HopsworksControl(hopsworks)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        body = await read_body(request) or {}
        match request.method, request.path.removeprefix(PREFIX).split("/"):
            case "GET", ["state"]:
                return answer(self._state())
            case "POST", ["faults"]:
                self._faults.order(body)
            case "DELETE", ["faults"]:
                self._faults.clear()
            case "POST", ["nodes"]:
                return answer(self._add_nodes(body))
            case _, ["hopsworks", *path]:
                return answer(self._hopsworks.answer(request, path, body))
            case method, path:
                self._steer_cluster(method, path, body)
        return answer({})

    def _steer_cluster(self, method: str, path: list[str], body: dict[str, Any]) -> None:
        match method, path:
            case _, ["pods" | "starts" | "nodes" | "scheduler" | "priorities", *_]:
                switch(self._cluster, method, path, body)
            case "POST", ["volumes", "contents", namespace, name]:
                self._cluster.executions.order(namespace, name, body)
            case "POST", ["gpus", namespace, name]:
                self._cluster.executions.use_gpus(namespace, name, body["percent"])
            case "POST", ["logs", namespace, name]:
                self._cluster.pod_logs.order(namespace, name, body)
            case "POST", ["watches", what] if what in WATCHES:
                getattr(self._cluster.watchers, what)()
            case "DELETE", ["history"]:
                self._cluster.history.forget()
            case "POST", ["rules", kind]:
                self._cluster.rules.on(kind, body)
            case "DELETE", ["rules", *kinds]:
                self._cluster.rules.off(*kinds)
            case _:
                raise RefusedError(404, f"the sandbox has no {method} {PREFIX}{'/'.join(path)}")

    def _add_nodes(self, wanted: dict[str, Any]) -> dict[str, list[str]]:
        try:
            group = NodeGroup(**wanted)
        except TypeError as error:
            raise RefusedError(400, f"nodes need gpu_type, count and gpus: {error}") from error
        return {"nodes": [record.key[2] for record in add_nodes(self._cluster.store, group)]}

    def _state(self) -> dict[str, Any]:
        tally = self._cluster.tally
        return {
            "objects": {plural: self._cluster.store.count(plural) for plural in RESOURCES},
            "requests": tally.requests,
            "asked": dict(tally.asked),
            "typed": self._cluster.executions.typed,
            "watches": self._cluster.watchers.count(),
            "version": self._cluster.store.version,
            "created_pods": tally.created_pods,
            "double_creations": tally.double_creations,
            "faults_left": self._faults.orders.left(),
            "gpus": self._cluster.scheduler.placements.capacity(GPU_TYPE_LABEL),
            **volume_state(self._cluster),
        }
