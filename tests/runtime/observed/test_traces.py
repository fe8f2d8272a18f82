"""Traces go from who asks through the queue to the step that does it, and cost nothing where nobody records."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter as Spans
from opentelemetry.trace import SpanKind, StatusCode

from pgfleet.producers import reservation
from pgfleet.schema.tracing.spans import PARENT, SET_BY
from worlds.api.server import api_on
from worlds.fleet import Connection, Worker, move_clock
from worlds.reservations import reach
from worlds.small.kind import QUEUE, do
from worlds.small.world import Small

SENDER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = int(SENDER[3:35], 16), int(SENDER[36:52], 16)


def named(spans: Spans, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def the(spans: Spans, name: str) -> ReadableSpan:
    (found,) = named(spans, name)
    return found


def of(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def test_a_step_belongs_to_its_sender_and_its_settling_to_the_step(small: Small, spans: Spans) -> None:
    small.job()
    msg_id = small.send(do(1), {PARENT: SENDER})

    small.worker.run()

    step, settled = the(spans, f"process {QUEUE}"), the(spans, f"settle {QUEUE}")
    assert step.kind is SpanKind.CONSUMER
    assert parent(step) == (TRACE, SPAN)
    assert links(step) == [(TRACE, SPAN)]
    assert step.attributes is not None
    assert step.attributes["messaging.message.id"] == str(msg_id)
    assert parent(settled) == of(step)
    assert dict(settled.attributes or {}) == {"outcome": "advance"}


def test_each_step_of_a_batch_has_its_own_settling(small: Small, spans: Spans) -> None:
    for number in range(1, 4):
        small.job(number)
        small.send(do(number))

    small.worker.run_once()

    steps = {of(span) for span in named(spans, f"process {QUEUE}")}
    assert len(steps) == 3
    assert {parent(span) for span in named(spans, f"settle {QUEUE}")} == steps


def test_what_a_step_sends_now_is_its_own_and_what_it_sets_is_linked(small: Small, spans: Spans) -> None:
    small.job()
    small.send(do(1, "follow"), {PARENT: SENDER})

    small.worker.run_once()
    first = the(spans, f"process {QUEUE}")
    spans.clear()
    small.worker.run_once()
    now = the(spans, f"process {QUEUE}")
    spans.clear()
    move_clock(small.conn, 3700)
    small.worker.run_once()
    timer = the(spans, f"process {QUEUE}")

    assert (parent(now), links(now)) == (of(first), [of(first)])
    assert (parent(timer), links(timer)) == (None, [of(first)])


def test_whoever_waits_begins_a_trace_of_its_own_each_time(small: Small, spans: Spans) -> None:
    small.job()
    small.send(do(1, "wait"), {PARENT: SENDER, "theirs": 1})

    small.worker.run_once()

    (waiting,) = small.queue()
    headers = small.headers(waiting)
    assert PARENT not in headers
    assert headers["theirs"] == 1
    assert int(headers[SET_BY][36:52], 16) == of(the(spans, f"process {QUEUE}"))[1]


def test_what_goes_wrong_is_named_and_not_quoted(small: Small, spans: Spans) -> None:
    small.job()
    small.send(do(1, "raise"))

    small.worker.run_once()

    step = the(spans, f"process {QUEUE}")
    assert step.attributes is not None
    assert step.attributes["error.type"] == "RuntimeError"
    assert step.status.status_code is StatusCode.ERROR
    assert "broken" not in step.to_json()


@pytest.mark.parametrize(
    "headers",
    [
        {PARENT: 7},
        {PARENT: "00-zz"},
        {PARENT: {"a": 1}, SET_BY: []},
        {PARENT: "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {PARENT: SENDER[:-3], "tracestate": "x" * 5000},
        [PARENT],
        "text",
    ],
)
def test_whatever_a_stranger_says_of_its_trace_the_step_is_done(small: Small, spans: Spans, headers: Any) -> None:
    small.job()
    small.send(do(1), headers)

    small.worker.run()

    assert small.status() == "running"
    assert parent(the(spans, f"process {QUEUE}")) is None


def test_a_line_of_the_log_says_to_which_trace_it_belongs(small: Small, spans: Spans) -> None:
    small.job()
    small.send(do(1), {PARENT: SENDER})

    with structlog.testing.capture_logs() as lines:
        small.worker.run()

    (moved,) = [line for line in lines if line["event"] == "small_job.running"]
    assert moved["trace_id"] == f"{TRACE:032x}"
    assert int(moved["span_id"], 16) == of(the(spans, f"process {QUEUE}"))[1]


def test_where_nobody_records_nothing_is_said(small: Small) -> None:
    small.job()
    small.send(do(1, "follow"))

    with structlog.testing.capture_logs() as lines:
        small.worker.run_once()

    assert [small.headers(msg_id) for msg_id in small.queue()] == [None, None]
    assert not any("trace_id" in line for line in lines)


def test_a_producer_says_in_which_span_it_sends(dsn: str, conn: Connection, spans: Spans) -> None:
    with trace.get_tracer("a program").start_as_current_span("asks"):
        reservation.create_reservation(conn, user_id="ada", gpu_type="h100", gpu_count=1)

    row = conn.execute("select headers from pgmq.q_gpu_reservations").fetchone()
    assert row is not None
    assert int(row[0][PARENT][36:52], 16) == of(the(spans, "asks"))[1]


def test_a_request_is_followed_to_the_call_of_the_cluster(
    dsn: str, conn: Connection, worker: Worker, spans: Spans
) -> None:
    with api_on(dsn) as api, api.as_user("ada") as ada:
        asked = {"gpu_type": "h100", "gpu_count": 1, "github_user": "ada"}
        made = ada.post("/v1/reservations", json=asked, headers={PARENT: SENDER})
    assert made.status_code < 300, made.text

    reach(conn, worker, made.json()["id"], "active")

    request = the(spans, "POST /v1/reservations")
    steps = {of(span): span for span in named(spans, "process gpu_reservations")}
    in_trace = [span for span in steps.values() if of(span)[0] == TRACE]
    calls = [span for span in spans.get_finished_spans() if span.name == "kubernetes POST"]
    assert (request.kind, parent(request)) == (SpanKind.SERVER, (TRACE, SPAN))
    assert of(request) in [parent(span) for span in in_trace]
    # Each step is of the trace, or linked to the step that has set it.
    assert all(span in in_trace or set(links(span)) <= set(steps) for span in steps.values())
    assert calls
    assert {parent(call) in steps for call in calls} == {True}


def test_the_api_of_opentelemetry_is_not_imported_by_us() -> None:
    program = "import sys, pgfleet.workers.reservation, pgfleet.producers.reservation; print(*sys.modules)"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not [name for name in ended.stdout.split() if name.startswith("opentelemetry")]


def test_times_of_a_settling_are_within_the_trace(small: Small, spans: Spans) -> None:
    small.job()
    small.send(do(1))
    before = datetime.now(UTC)

    small.worker.run()

    settled = the(spans, f"settle {QUEUE}")
    assert settled.start_time is not None
    assert settled.end_time is not None
    began, ended = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (settled.start_time, settled.end_time))
    assert before - timedelta(seconds=1) < began <= ended
