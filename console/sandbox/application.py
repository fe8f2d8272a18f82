"""The sandbox's port: which part answers which path."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from pgfleet.console.sandbox import control, ssh_keys
from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.faults import Faults
from pgfleet.console.sandbox.hopsworks import servers as hopsworks
from pgfleet.console.sandbox.kubernetes import server as kubernetes
from pgfleet.console.sandbox.kubernetes.cluster import Cluster, Options
from pgfleet.console.sandbox.kubernetes.nodes import NodeGroup, add_nodes
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

SHUTDOWN_S = 1.0
LARGEST_BODY_BYTES = 64 * 1024 * 1024


class Application:
    """To be made inside the event loop that serves it."""

    def __init__(self, options: Options, groups: Sequence[NodeGroup]) -> None:
        self.cluster = Cluster(options)
        self._faults = Faults()
        self._kubernetes = kubernetes.Server(self.cluster)
        self._hopsworks = hopsworks.Hopsworks()
        self._control = control.Control(self.cluster, self._faults, self._hopsworks)
        for group in groups:
            add_nodes(self.cluster.store, group)

    async def listen(self, host: str) -> tuple[web.ServerRunner, int]:
        """The runner to clean up, and the free port that was taken."""
        server = web.Server(self.answer, request_factory=_request, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        await web.TCPSite(runner, host, 0, backlog=1024).start()
        return runner, int(runner.addresses[0][1])

    async def close(self, runner: web.ServerRunner) -> None:
        self.cluster.watchers.close()
        await runner.cleanup()

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
            if request.path.startswith(kubernetes.PREFIXES):
                return await self._kubernetes.answer(request)
            if request.path.startswith(hopsworks.PREFIX):
                return await self._hopsworks.answer(request)
            if request.path.startswith(ssh_keys.PREFIX):
                return await ssh_keys.ssh_keys(request.path, self.cluster.options.slow_keys_s)
            if request.path == "/":
                return web.Response(text="The front page of GitHub's sandbox.\n")
        except RefusedError as refused:
            return answer(refused.status, refused.code)
        return answer(not_served.status, not_served.code)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """One whose body may be as large as it likes: how large is too large, each part says in its own words."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY_BYTES)
