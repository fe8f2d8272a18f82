"""Spans of a worker reach a collector where the environment names one, and nothing is imported where none is."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pgfleet.console.sandbox.box import Box
from worlds.database import Connection
from worlds.fleet import until, worker_process
from worlds.reservations import create

WHERE = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROGRAM = """
import sys
{before}
from pgfleet.schema.tracing.exporting import exported
with exported("a program"):
    print(*sys.modules)
"""


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address, and what it was sent: resources with their spans."""
    taken: list[Any] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the library
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()


def ran(before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_spans_of_a_worker_reach_the_collector(
    dsn: str, conn: Connection, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as (url, taken):
        monkeypatch.setenv(WHERE, url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        create(conn)

        def names() -> set[str]:
            return {span.name for each in list(taken) for scope in each.scope_spans for span in scope.spans}

        with worker_process(dsn, box):
            until(lambda: {"process gpu_reservations", "settle gpu_reservations", "kubernetes POST"} <= names())

    services = {
        pair.value.string_value for each in taken for pair in each.resource.attributes if pair.key == "service.name"
    }
    assert services == {"pgfleet-worker-reservation"}


@pytest.mark.parametrize("environment", [{}, {WHERE: ""}, {WHERE: "http://nowhere", "OTEL_SDK_DISABLED": "true"}])
def test_without_a_collector_nothing_is_imported(environment: dict[str, str]) -> None:
    ended = ran(**environment)

    assert ended.returncode == 0, ended.stderr
    assert "opentelemetry" not in ended.stdout


def test_a_collector_without_the_extra_is_told() -> None:
    ended = ran('sys.modules["opentelemetry.sdk.trace"] = None', **{WHERE: "http://127.0.0.1:4318"})

    assert ended.stderr.strip().endswith(
        f"{WHERE} is set, and traces need an extra that is not installed: pip install 'pgfleet[otel]'"
    )
