"""The Kubernetes REST API over the store: who may ask for what, and which part answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.answers import answer, encoded
from pgfleet.console.sandbox.kubernetes.listing import Lists
from pgfleet.console.sandbox.kubernetes.patches import patched
from pgfleet.console.sandbox.kubernetes.paths import Target, parse_path
from pgfleet.console.sandbox.kubernetes.reading import (
    is_dry_run,
    is_on,
    page_of,
    read_body,
    selector_of,
    wanted_of,
    way_of,
    whole_number,
)
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, not_found, success
from pgfleet.console.sandbox.kubernetes.rules.access import Question
from pgfleet.console.sandbox.kubernetes.writing import Writes

if TYPE_CHECKING:
    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record
    from pgfleet.console.sandbox.kubernetes.writing import Written

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NOT_ALLOWED = "the server does not allow this method on the requested resource"


class Api:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self._lists = Lists(cluster.store, cluster.history)
        self._writes = Writes(cluster)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        target = parse_path(request.path)
        verb = verb_of(request, target)
        self._cluster.tally.count(f"{verb} {target.resource.plural}")
        for asked in (verb, "create") if target.subresource == "exec" else (verb,):
            self._cluster.rules.check_right(_question(asked, target))
        body = await read_body(request) if request.body_exists else None
        if target.subresource not in ("", "status"):
            return await self._answer_subresource(request, target)
        if verb == "watch":
            return await self._cluster.watchers.stream(request, wanted_of(request, target))
        if target.name:
            return self._answer_object(request, target, body)
        return self._answer_collection(request, target, body)

    def _answer_object(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        record = self._existing(target)
        match request.method:
            case "GET":
                return encoded(record.raw)
            case "PUT":
                return self._update(request, target, record, body)
            case "PATCH":
                return self._update(request, target, record, patched(request.content_type, record.body(), body))
            case "DELETE":
                return self._delete(request, target, record, body or {})
        raise RefusedError(405, NOT_ALLOWED)

    def _answer_collection(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        match request.method:
            case "GET":
                selector, page = selector_of(request, target), page_of(request)
                return encoded(self._lists.encoded(target.resource.plural, target.namespace, selector, page))
            case "POST":
                return _written(self._writes.create(target, body, way_of(request, body)), 201)
            case "DELETE":
                raise RefusedError(501, "the sandbox has no deletion of collections")
        raise RefusedError(405, NOT_ALLOWED)

    async def _answer_subresource(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        record = self._existing(target)
        if target.resource.plural == "pods" and target.subresource == "exec":
            return await self._cluster.executions.answer(request, record)
        if target.resource.plural == "pods" and target.subresource == "log":
            return self._cluster.pod_logs.answer(request, record)
        raise RefusedError(501, f"the sandbox has no {target.subresource} of {target.resource.plural}")

    def _existing(self, target: Target) -> Record:
        record = self._store.get(target.key)
        if record is None:
            raise not_found(target.resource.plural, target.name)
        return record

    def _update(self, request: web.BaseRequest, target: Target, record: Record, body: Any) -> web.Response:
        return _written(self._writes.update(target, record, body, way_of(request, body)))

    def _delete(self, request: web.BaseRequest, target: Target, record: Record, options: Object) -> web.Response:
        asked = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        grace_s = None if asked is None else whole_number(asked)
        gone = self._writes.delete(target, record, options, grace_s, dry_run=is_dry_run(request, options))
        if target.resource.deletion_answers_object:
            return encoded(gone.raw)
        return answer(success(target.resource.plural, target.name, record.uid))


def _written(written: Written, code: int = 200) -> web.Response:
    response = encoded(written.record.raw, code)
    for warning in written.warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _question(verb: str, target: Target) -> Question:
    return Question(
        verb, target.resource.plural, target.subresource, target.namespace, target.name, target.resource.group
    )


def verb_of(request: web.BaseRequest, target: Target) -> str:
    """As rights name it."""
    if request.method != "GET":
        return VERBS.get(request.method, request.method.lower())
    if target.name:
        return "get"
    return "watch" if is_on(request, "watch") else "list"
