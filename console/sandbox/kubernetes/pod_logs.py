"""What containers have printed: one line, or what was ordered for the pod."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pgfleet.console.sandbox.kubernetes.reading import is_on
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, invalid

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record

UNORDERED = b"sandbox: the container runs\n"
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff")
UNSERVED = ("follow", "timestamps", "sinceSeconds", "sinceTime", "stream")


class PodLogs:
    def __init__(self) -> None:
        self._printed: dict[tuple[str, str, bool], bytes] = {}  # by namespace, name, and whether of the run before

    def order(self, namespace: str, name: str, wanted: dict[str, Any]) -> None:
        """`wanted` has base64 `content`, and may be about the `previous` run."""
        is_previous = bool(wanted.get("previous"))
        self._printed[namespace, name, is_previous] = base64.b64decode(wanted["content"])

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
        printed = self._printed.get((pod.key[1], name, is_previous), UNORDERED)
        lines = printed.splitlines(keepends=True)
        kept = b"".join(lines if tail is None else lines[max(0, len(lines) - tail) :])
        return _text(kept[:limit])


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
