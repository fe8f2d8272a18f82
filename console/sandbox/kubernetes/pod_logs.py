"""What containers have printed: one line, or what was ordered for the pod, each line with the time of its order."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pgfleet.console.sandbox.kubernetes.reading import is_on
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record

UNORDERED = b"sandbox: the container runs\n"
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff")
UNSERVED = ("follow", "sinceSeconds", "stream")
# The first of the times; a line is a millionth of a second after the one before.
NS = 1_000_000_000
TICK_NS = 1000


@dataclass(frozen=True, slots=True)
class Line:
    at_ns: int
    text: bytes

    @property
    def stamped(self) -> bytes:
        """As kubelets write times: without the zeros at the end."""
        fraction = f"{self.at_ns % NS:09d}".rstrip("0")
        whole = datetime.fromtimestamp(self.at_ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{whole}{f'.{fraction}' if fraction else ''}Z ".encode() + self.text


class PodLogs:
    def __init__(self) -> None:
        # Lines with their times, by namespace, name, and whether of the run before.
        self._printed: dict[tuple[str, str, bool], list[Line]] = {}

    def order(self, namespace: str, name: str, wanted: dict[str, Any]) -> None:
        """`wanted` has base64 `content`, and may be about the `previous` run; with `more` it comes behind the rest."""
        key = namespace, name, bool(wanted.get("previous"))
        before = self._printed.get(key, []) if wanted.get("more") else []
        self._printed[key] = before + _stamped(base64.b64decode(wanted["content"]), before)

    def answer(self, request: web.BaseRequest, pod: Record) -> web.Response:
        """Raises `RefusedError`: 400 for a container that has printed nothing yet, or is not there."""
        for option in UNSERVED:
            if is_on(request, option):
                raise RefusedError(501, f"the sandbox has no {option} of a log")
        name, body = pod.key[2], pod.body()
        tail, limit = _count(request, name, "tailLines", 0), _count(request, name, "limitBytes", 1)
        container = _container(name, body, request.query.get("container", ""))
        is_previous = is_on(request, "previous")
        if not pod.fields["spec.nodeName"]:
            return _text(b"")
        status: Object = next((s for s in body["status"].get("containerStatuses") or () if s["name"] == container), {})
        _check_state(name, container, status, is_previous=is_previous)
        ordered = self._printed.get((pod.key[1], name, is_previous))
        lines = _stamped(UNORDERED, [], _began_ns(status)) if ordered is None else ordered
        since_ns = _since_ns(request)
        lines = [line for line in lines if line.at_ns >= since_ns]
        lines = lines if tail is None else lines[max(0, len(lines) - tail) :]
        shown = [line.stamped if is_on(request, "timestamps") else line.text for line in lines]
        return _text(b"".join(shown)[:limit])


def _stamped(printed: bytes, before: list[Line], now_ns: int | None = None) -> list[Line]:
    """Each line a little later than the one before."""
    first = max(now_ns or time.time_ns(), before[-1].at_ns + TICK_NS if before else 0)
    return [Line(first + number * TICK_NS, text) for number, text in enumerate(printed.splitlines(keepends=True))]


def _began_ns(status: Object) -> int:
    began = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    return int(datetime.fromisoformat(began).timestamp()) * NS if began else 0


def _since_ns(request: web.BaseRequest) -> int:
    """To the second, as API servers read it."""
    since = request.query.get("sinceTime", "")
    try:
        return int(datetime.fromisoformat(since).timestamp()) * NS if since else 0
    except ValueError:
        raise RefusedError(400, f'parsing time "{since}" as "2006-01-02T15:04:05Z07:00"') from None


def _text(printed: bytes) -> web.Response:
    return web.Response(body=printed, headers={"Content-Type": "text/plain"})


def _count(request: web.BaseRequest, name: str, option: str, least: int) -> int | None:
    text = request.query.get(option, "")
    if not text:
        return None
    if not text.lstrip("-").isdigit():
        raise RefusedError(400, f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < least:
        bound = "greater than 0" if least else "greater than or equal to 0"
        raise invalid("PodLogOptions", name, option, f"Invalid value: {text}: must be {bound}")
    return int(text)


def _container(name: str, pod: Object, wanted: str) -> str:
    containers: list[str] = [container["name"] for container in pod["spec"]["containers"]]
    if wanted and wanted not in containers:
        raise RefusedError(400, f"container {wanted} is not valid for pod {name}")
    if not wanted and len(containers) > 1:
        choice = " ".join(containers)
        raise RefusedError(400, f"a container name must be specified for pod {name}, choose one of: [{choice}]")
    return wanted or containers[0]


def _check_state(name: str, container: str, status: Object, *, is_previous: bool) -> None:
    state, before = status.get("state") or {}, status.get("lastState") or {}
    if is_previous:
        if "terminated" not in before:
            raise RefusedError(400, f'previous terminated container "{container}" in pod "{name}" not found')
        return
    waiting = state.get("waiting", {}).get("reason", "") if state else "ContainerCreating"
    if waiting and "terminated" not in before:
        why = "trying and failing to pull image" if waiting in NO_IMAGE else waiting
        raise RefusedError(400, f'container "{container}" in pod "{name}" is waiting to start: {why}')
