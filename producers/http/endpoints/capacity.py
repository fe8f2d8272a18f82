"""`/v1/gpu-types` and `/v1/lines`: what there is, what is free, and who waits, as counts and never as names."""

from datetime import timedelta
from typing import Any

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, NotFoundError
from pgfleet.producers.http.shapes.reservations import GpuType, Line
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import TOLD
from pgfleet.schema.reads.place import Line as ReadLine

# Who waits is counted, and not read.
FRONT = 1


def _lines(call: Call, names: list[str], most: int) -> dict[str, ReadLine]:
    return reads.lines(call.conn, names, timedelta(seconds=call.settings.expiry_grace_s), most)


def list_gpu_types(call: Call) -> Answer:
    known = reads.types(call.conn)
    lines = _lines(call, list(known), FRONT)
    items = [
        {**row, "free_gpus": line.free, "waiting": line.number, "next_free_at": line.next_end}
        for name, row in known.items()
        if (line := lines.get(name)) is not None
    ]
    return Answer({"items": items})


def get_line(call: Call) -> Answer:
    name = call.path["type"]
    line = _lines(call, [name], TOLD).get(name)
    if line is None:
        raise NotFoundError(f"there is no GPU type {name[:50]}")
    return Answer({**line.as_json(), "front": _front(call, line)})


def _front(call: Call, line: ReadLine) -> list[dict[str, Any]]:
    """The first in line; whose they are is told of the principal's own alone."""
    waiting = line.plan.waiting[:TOLD]
    users = reads.users_of(call.conn, [waits.unit.key for waits in waiting])
    return [
        {
            "position": position,
            "gpus": waits.unit.gpus,
            "nodes": waits.unit.nodes,
            "reason_code": waits.code,
            "eta": line.standing.at(waits.starts_in_s),
            "eta_is_promised": waits.is_promised,
            "is_mine": (is_mine := users.get(waits.unit.key) == call.principal.username),
            "reservation_id": waits.unit.key if is_mine or call.owner is None else None,
        }
        for position, waits in enumerate(waiting, 1)
    ]


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/gpu-types",
        "GPU types: how many there are, free and waited for",
        "gpu-types.read",
        list_gpu_types,
        Page[GpuType],
    ),
    Endpoint(
        "GET",
        "/v1/lines/{type}",
        "Who waits for a type, and until when",
        "lines.read",
        get_line,
        Line,
        refuses=(404,),
    ),
)
