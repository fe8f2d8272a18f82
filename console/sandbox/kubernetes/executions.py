"""Commands in pods: what they write is sent on a websocket. It is a listing of the pod's home, or what was ordered.

Commands that are none of a listing are told apart by their names for themselves ($0).
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from pgfleet.console.sandbox.kubernetes.demands import GPU
from pgfleet.console.sandbox.kubernetes.reading import is_on
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.store import Record
    from pgfleet.console.sandbox.kubernetes.tally import Tally

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STATUS = b"\x00", b"\x01", b"\x03"
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
# What commands write, by their names for themselves.
USUAL = {
    "pgfleet-jupyter-start": b"running\n",
    "pgfleet-jupyter-look": b"running\n",
    "pgfleet-jupyter-stop": b"stopped\n",
}


class Executions:
    def __init__(self, tally: Tally, machines: Machines) -> None:
        self._tally = tally
        self._machines = machines
        self._wanted: dict[tuple[str, str, str], tuple[bytes, float, str]] = {}
        self._busy: dict[tuple[str, str], list[int]] = {}
        self.commands: deque[tuple[str, list[str]]] = deque(maxlen=COMMANDS_KEPT)
        self.typed: list[tuple[str, str, str]] = []  # pod, command, what it read

    def order(self, namespace: str, name: str, wanted: dict[str, Any]) -> None:
        """`wanted` has base64 `content`, `delay_s` and `failure`; it may be about one `command` alone."""
        content = base64.b64decode(wanted["content"])
        command = str(wanted.get("command", ""))
        self._wanted[namespace, name, command] = content, float(wanted["delay_s"]), str(wanted["failure"])

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
        with suppress(ConnectionError):  # a client may leave before the end
            if is_on(request, "stdin"):
                await self._read(socket, pod.key[2], command[-1])
            await _play(socket, *self._answer_of(pod, command))
        return socket

    def _answer_of(self, pod: Record, command: list[str]) -> tuple[bytes, float, str]:
        """What the command writes, after how long it goes on, and how it fails. An idle GPU is one nobody has set."""
        namespace, name = pod.key[1:]
        ordered = self._wanted.get((namespace, name, command[-1] if command[-1] in USUAL else ""))
        if ordered is None and command[0] == "nvidia-smi":
            busy = self._busy.get((namespace, name), [0] * _gpus(pod))
            return "".join(f"{percent}\n" for percent in busy).encode(), 0.0, ""
        return ordered or (USUAL.get(command[-1], LISTING), 0.0, "")

    async def _read(self, socket: web.WebSocketResponse, pod: str, command: str) -> None:
        """A line, as a shell reads one."""
        read = b""
        while b"\n" not in read:
            message = await socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            frame = message.data.encode() if isinstance(message.data, str) else message.data
            read += frame[1:] if frame[:1] == STDIN else b""
        self.typed.append((pod, command, read.decode()))


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
