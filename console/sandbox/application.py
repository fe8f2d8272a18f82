"""The sandbox's port: which part answers which path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from pgfleet.console.sandbox import control, ssh_keys
from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.faults import Faults
from pgfleet.console.sandbox.hopsworks import servers as hopsworks
from pgfleet.console.sandbox.kubernetes import api, metrics, paths
from pgfleet.console.sandbox.kubernetes.cluster import Cluster, Options
from pgfleet.console.sandbox.kubernetes.nodes import NodeGroup, add_nodes
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHUTDOWN_S = 1.0


class Application:
    """To be made inside the event loop that serves it."""

    def __init__(self, options: Options, groups: Sequence[NodeGroup]) -> None:
        self.cluster = Cluster(options)
        self._faults = Faults()
        self._api = api.Api(self.cluster)
        self._hopsworks = hopsworks.Hopsworks()
        self._control = control.Control(self.cluster, self._faults, self._hopsworks)
        for group in groups:
            add_nodes(self.cluster.store, group)

    async def listen(self, host: str) -> tuple[web.ServerRunner, int]:
        """The runner to clean up, and the free port that was taken."""
        server = web.Server(self.answer, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        await web.TCPSite(runner, host, 0, backlog=1024).start()
        return runner, int(runner.addresses[0][1])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path.startswith(control.PREFIX):
                return await self._control.answer(request)
            self.cluster.tally.requests += 1
            return await self._faults.through(request, self._route)
        except RefusedError as refused:
            return answer(refused.status, refused.code)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        """Errors become answers here, so that a fault after the request sees them as such."""
        not_served = RefusedError(404, "the server could not find the requested resource")
        try:
            if request.path.startswith(paths.PREFIX):
                return await self._api.answer(request)
            if request.path.startswith(metrics.PREFIX):
                return metrics.metrics(request, self.cluster.store)
            if request.path.startswith(hopsworks.PREFIX):
                return await self._hopsworks.answer(request)
            if request.path.startswith(ssh_keys.PREFIX):
                return await ssh_keys.ssh_keys(request.path, self.cluster.options.slow_keys_s)
        except RefusedError as refused:
            return answer(refused.status, refused.code)
        return answer(not_served.status, not_served.code)
