"""Sends spans to a collector, where the environment names one, by the variables of OpenTelemetry (`OTEL_...`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from pgfleet.schema.errors import FleetError

WHERE = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextmanager
def exported(service: str) -> Iterator[None]:
    """Spans of this process go to the collector until the end of the block; without one nothing is even imported.

    Raises:
        FleetError: a collector is named, and the extra is not installed.
    """
    named = next((name for name in WHERE if os.environ.get(name)), None)
    if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415  # an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # same
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # same
    except ImportError:
        text = f"{named} is set, and traces need an extra that is not installed: pip install 'pgfleet[otel]'"
        raise FleetError(text) from None
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": version("pgfleet")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
