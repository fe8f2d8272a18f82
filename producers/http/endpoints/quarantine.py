"""`/v1/disk-quarantine` and `/v1/pod-quarantine`: what is outside, and no row accounts for."""

from pgfleet.producers.http.endpoint import Answer, Call, Endpoint, Shape
from pgfleet.producers.http.shapes.disks import Stray, StrayPod
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.reads import disk as reads
from pgfleet.schema.reads.pictures.gpus import stray_pods


class QuarantineFilter(Shape):
    """`gone`: what was accounted for since, or is not there any more, too."""

    gone: bool = False


def list_quarantine(call: Call) -> Answer:
    return Answer({"items": reads.quarantine(call.conn, gone_too=call.asked(QuarantineFilter).gone)})


def list_stray_pods(call: Call) -> Answer:
    return Answer({"items": stray_pods(call.conn, gone_too=call.asked(QuarantineFilter).gone)})


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/disk-quarantine",
        "Volumes and snapshots that no row accounts for: none is deleted, a person decides",
        "quarantine.read",
        list_quarantine,
        Page[Stray],
        asks=QuarantineFilter,
    ),
    Endpoint(
        "GET",
        "/v1/pod-quarantine",
        "Pods that no row accounts for: none is deleted, a person decides",
        "quarantine.read",
        list_stray_pods,
        Page[StrayPod],
        asks=QuarantineFilter,
    ),
)
