"""Spans, where this program records any: what is sent says by which span, and its step belongs to that one's trace.

The API of OpenTelemetry is not imported here: where nobody else has, nobody records. A message that is due at once has
`traceparent` (and `tracestate`) among its headers, as W3C's Trace Context has them. One that is due later has the same
as `pgfleet_set_by`, and begins a trace of its own: what is looked at for a day would be a trace of thousands of steps.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

PARENT, STATE, SET_BY = "traceparent", "tracestate", "pgfleet_set_by"
NAME = "pgfleet"
_NOTHING: AbstractContextManager[Any] = nullcontext()


def _api() -> Any:
    """The API, where a program has set it up; None where nothing is recorded."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    return api


class _Span:
    """The current span of a block. What goes wrong is named, and not quoted: an error's text may hold a secret."""

    def __init__(self, api: Any, name: str, given: Mapping[str, Any]) -> None:
        tracer = api.get_tracer(NAME)
        self._error = api.Status(api.StatusCode.ERROR)
        self._block = tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **given)
        self._span: Any = None

    def __enter__(self) -> Any:
        self._span = self._block.__enter__()
        return self._span.get_span_context()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._span.set_attribute("error.type", kind.__name__)
            self._span.set_status(self._error)
        self._block.__exit__(kind, error, trace)


def headers() -> dict[str, str]:
    """What says in a message which span has sent it; empty outside of any."""
    if (api := _api()) is None or not api.get_current_span().get_span_context().is_valid:
        return {}
    said: dict[str, str] = {}
    _propagator().inject(said)
    return said


def later(given: Any) -> Any:
    """The headers of a message that is due later: whoever sends it has only set it."""
    said = headers()
    if not said:
        return given
    theirs = {name: value for name, value in (given or {}).items() if name not in (PARENT, STATE)}
    return {**theirs, SET_BY: said[PARENT]}


def calling(name: str) -> AbstractContextManager[Any]:
    """A call of something outside."""
    api = _api()
    return _NOTHING if api is None else _Span(api, name, {"kind": api.SpanKind.CLIENT})


def serving(name: str, asked: Mapping[str, str]) -> AbstractContextManager[Any]:
    """A request, with the headers that it came with, by lower-case names."""
    if (api := _api()) is None:
        return _NOTHING
    return _Span(api, name, {"kind": api.SpanKind.SERVER, "context": _context(asked)})


def stepping(queue: str, msg_id: int, row: str | None, given: Any) -> AbstractContextManager[Any]:
    """A step, with the headers of its message; gives what `after` needs, None where nothing is recorded.

    A sender in another trace is linked, and so is one in the same, as some show one of them and some the other.
    """
    if (api := _api()) is None:
        return _NOTHING
    said = given if isinstance(given, dict) else {}
    parent = _context(said)
    set_by = _context({PARENT: said.get(SET_BY)})
    senders = [api.get_current_span(context).get_span_context() for context in (parent, set_by)]
    named = {
        "messaging.system": "pgmq",
        "messaging.destination.name": queue,
        "messaging.operation.type": "process",
        "messaging.message.id": str(msg_id),
        **({} if row is None else {"pgfleet.row": row}),
    }
    links = [api.Link(sender) for sender in senders if sender.is_valid]
    kind = api.SpanKind.CONSUMER
    return _Span(api, f"process {queue}", {"kind": kind, "context": parent, "links": links, "attributes": named})


def after(step: Any, name: str, began_ns: int, **attributes: str) -> None:
    """What was done for a step together with others, and has just ended, as a child of the step's span."""
    if step is None or (api := _api()) is None:
        return
    parent = api.set_span_in_context(api.NonRecordingSpan(step))
    span = api.get_tracer(NAME).start_span(name, context=parent, start_time=began_ns, attributes=attributes)
    span.end(time.time_ns())


def ids(step: Any = None) -> dict[str, str]:
    """What a line of a log is found by: of a step, or of the current span; empty where there is none."""
    if step is None:
        if (api := _api()) is None:
            return {}
        step = api.get_current_span().get_span_context()
    return {"trace_id": f"{step.trace_id:032x}", "span_id": f"{step.span_id:016x}"} if step.is_valid else {}


def _context(said: Mapping[str, Any]) -> Any:
    """Whatever strangers have written there: what is no trace context is none."""
    return _propagator().extract({name: value for name, value in said.items() if _is_ours(name, value)}, _empty())


def _is_ours(name: str, value: object) -> bool:
    return name in (PARENT, STATE) and isinstance(value, str)


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415  # an extra

    return TraceContextTextMapPropagator()


def _empty() -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415  # an extra

    return Context()
