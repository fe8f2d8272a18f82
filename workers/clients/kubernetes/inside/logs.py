"""What a pod's container writes while it runs, read on from where it was read last.

A kubelet gives each line its own time, and takes a time in whole seconds to begin with: so what was read of that second
is left out again. The place is the time of the last line, and how many lines of that time were read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from pgfleet.schema.printable import harmless
from pgfleet.workers.clients.bodies import beginning
from pgfleet.workers.clients.kubernetes.names import CONTAINER
from pgfleet.workers.clients.kubernetes.pods import LOG_READ_BYTES, SHORT_S, Pods
from pgfleet.workers.clients.kubernetes.status.logs import LOG_BYTES, LOG_LINES
from pgfleet.workers.runtime.outcomes import NeverError, NoPlaceError, NotNowError

PATH = "/api/v1/namespaces/{namespace}/pods/{name}/log"
SECOND = "%Y-%m-%dT%H:%M:%S"
SECOND_LETTERS = len("2026-11-29T14:00:00")
LEFT_OUT = "... lines are left out: more is written than can be read along\n"


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 16 KiB of text, the place behind it, and whether more is there already."""

    text: str
    cursor: str | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class Line:
    """`at` sorts as times do."""

    at: str
    text: str


def read_on(pods: Pods, pod: str, cursor: str | None) -> Chunk | None:
    """What was written behind a place; without one, the last 200 lines. None where nobody can say now."""
    last, number = _place(cursor)
    written = _read(pods, pod, None if last is None else last[:SECOND_LETTERS])
    if written is None:
        return None
    lines = list(_lines(written, is_whole=len(written) < LOG_READ_BYTES))
    new = list(_behind(lines, last, number))
    if not new and last is not None and len(written) >= LOG_READ_BYTES:
        return Chunk(LEFT_OUT, f"{_next_second(last)}#0", has_more=True)
    taken = list(_fitting(new))
    if not taken:
        return Chunk("", cursor, has_more=False)
    at = taken[-1].at
    again = sum(line.at == at for line in taken) + (number if at == last else 0)
    return Chunk("".join(line.text for line in taken), f"{at}#{again}", has_more=len(taken) < len(new))


def _place(cursor: str | None) -> tuple[str | None, int]:
    at, _, number = (cursor or "").partition("#")
    return (at, int(number)) if at else (None, 0)


def _behind(lines: list[Line], last: str | None, number: int) -> Iterator[Line]:
    """Those later than the last that was read, and of its very time those that come after as many."""
    same = 0
    for line in lines:
        same += line.at == last
        if last is None or line.at > last or (line.at == last and same > number):
            yield line


def _fitting(lines: list[Line]) -> Iterator[Line]:
    """As many as a chunk holds; of a first one that is too long, its beginning."""
    left = LOG_BYTES
    for number, line in enumerate(lines):
        size = len(line.text.encode())
        if size > left and number == 0:
            yield Line(line.at, line.text.encode()[: LOG_BYTES - 1].decode("utf-8", "ignore") + "\n")
        if size > left:
            return
        yield line
        left -= size


def _lines(written: bytes, *, is_whole: bool) -> Iterator[Line]:
    """What a line is without its time belongs to the one before; the last of what was cut off is read again."""
    parts = written.decode("utf-8", "replace").split("\n")
    at = ""
    for part in parts[: None if is_whole else -1]:
        stamp, _, text = part.partition(" ")
        if _is_stamp(stamp):
            at = _sortable(stamp)
        if at and part:
            yield Line(at, harmless(text if _is_stamp(stamp) else part) + "\n")


def _is_stamp(text: str) -> bool:
    return text.endswith("Z") and text[4:5] == "-" and text[10:11] == "T"


def _sortable(stamp: str) -> str:
    """Kubelets leave out the zeros at the end of a fraction."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction.ljust(9, '0')}"


def _next_second(at: str) -> str:
    later = datetime.strptime(at[:SECOND_LETTERS], SECOND) + timedelta(seconds=1)  # noqa: DTZ007  # one source's own
    return f"{later.strftime(SECOND)}.000000000"


def _read(pods: Pods, pod: str, second: str | None) -> bytes | None:
    """Past the breaker, as a node that is silent must not open it for all. The generated method has no `sinceTime`."""
    wanted: list[tuple[str, Any]] = [("container", CONTAINER), ("timestamps", True), ("limitBytes", LOG_READ_BYTES)]
    wanted.append(("tailLines", LOG_LINES) if second is None else ("sinceTime", f"{second}Z"))
    client, timeout_s = pods.probe.api.api_client, min(SHORT_S, pods.timeout_s)
    try:
        asked = client.param_serialize(
            method="GET",
            resource_path=PATH,
            path_params={"namespace": pods.namespace, "name": pod},
            query_params=wanted,
            header_params={"Accept": "text/plain"},
            auth_settings=["BearerToken"],
        )
        answer: Any = client.call_api(*asked, _request_timeout=timeout_s)
        if answer.status != HTTPStatus.OK:
            return None
        return beginning(answer.response, LOG_READ_BYTES, timeout_s)
    except (ApiException, HTTPError, NeverError, NotNowError, NoPlaceError):
        return None
