"""Commands in pods: a websocket on which the listing of the pod's home is sent, whatever the command was."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from pgfleet.console.sandbox.kubernetes.demands import GPU
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.store import Record
    from pgfleet.console.sandbox.kubernetes.tally import Tally

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STATUS = b"\x01", b"\x03"
FRAME_BYTES = 32 * 1024
COMMANDS_KEPT = 1000
LISTING = b"""1.2G\t/home/dev
/home/dev
|-- notebooks
|   `-- train.ipynb
`-- results
    `-- loss.csv

2 directories, 2 files
"""


class Executions:
    def __init__(self, tally: Tally, machines: Machines) -> None:
        self._tally = tally
        self._machines = machines
        self._wanted: dict[tuple[str, str], tuple[bytes, float, str]] = {}
        self._busy: dict[tuple[str, str], list[int]] = {}
        self.commands: deque[tuple[str, list[str]]] = deque(maxlen=COMMANDS_KEPT)

    def order(self, namespace: str, name: str, wanted: dict[str, Any]) -> None:
        """`wanted` has base64 `content`, `delay_s` and `failure`."""
        content = base64.b64decode(wanted["content"])
        self._wanted[namespace, name] = content, float(wanted["delay_s"]), str(wanted["failure"])

    def use_gpus(self, namespace: str, name: str, percent: list[int]) -> None:
        """From now on `nvidia-smi` in the pod says so, a line a number."""
        self._busy[namespace, name] = percent

    async def answer(self, request: web.BaseRequest, pod: Record) -> web.StreamResponse:
        """Raises `RefusedError`: 400 where nothing can be run in the pod or container, 500 for a silent node."""
        _check(request, pod)
        node = pod.fields["spec.nodeName"]
        if not self._machines.works(node):
            address = next(iter(self._machines.addresses(node)), node)
            raise RefusedError(500, f"error dialing backend: dial tcp {address}:10250: connect: no route to host")
        socket = web.WebSocketResponse(protocols=PROTOCOLS, timeout=1.0)
        if not socket.can_prepare(request).ok:
            raise RefusedError(400, "Upgrade request required")
        await socket.prepare(request)
        self._tally.executions += 1
        command = request.query.getall("command")
        self.commands.append((pod.key[2], command))
        content, delay_s, failure = self._ordered(pod, command)
        with suppress(ConnectionError):  # a client may leave before the end
            await _play(socket, content, delay_s, failure)
        return socket

    def _ordered(self, pod: Record, command: list[str]) -> tuple[bytes, float, str]:
        """What the command writes, after how long it goes on, and how it fails. An idle GPU is one nobody has set."""
        place = pod.key[1:]
        if place not in self._wanted and command[0] == "nvidia-smi":
            busy = self._busy.get(place, [0] * _gpus(pod))
            return "".join(f"{percent}\n" for percent in busy).encode(), 0.0, ""
        return self._wanted.get(place, (LISTING, 0.0, ""))


async def _play(socket: web.WebSocketResponse, content: bytes, delay_s: float, failure: str) -> None:
    """The delay comes after the first half, so that a client that gives up has read something."""
    half = len(content) // 2
    for part in (content[:half], content[half:]):
        for start in range(0, len(part), FRAME_BYTES):
            await socket.send_bytes(STDOUT + part[start : start + FRAME_BYTES])
        await asyncio.sleep(delay_s if part is not content[half:] else 0)
    status = {"metadata": {}, "status": "Success"}
    if failure:
        status |= {"status": "Failure", "message": failure, "reason": "InternalError"}
    await socket.send_bytes(STATUS + orjson.dumps(status))
    await socket.close()


def _gpus(pod: Record) -> int:
    containers = pod.body()["spec"]["containers"]
    return sum(int(each.get("resources", {}).get("limits", {}).get(GPU, 0)) for each in containers)


def _check(request: web.BaseRequest, pod: Record) -> None:
    name, body = pod.key[2], pod.body()
    containers = [container["name"] for container in body["spec"]["containers"]]
    wanted = request.query.get("container", containers[0])
    if wanted not in containers:
        raise RefusedError(400, f"container {wanted} is not valid for pod {name}")
    if not pod.fields["spec.nodeName"]:
        raise RefusedError(400, f"pod {name} does not have a host assigned")
    if pod.fields["status.phase"] != "Running":
        raise RefusedError(400, f'container not found ("{wanted}")')
    if not request.query.get("command"):
        raise RefusedError(400, "you must specify at least 1 command")
