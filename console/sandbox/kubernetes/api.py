"""The Kubernetes REST API over the store: reading and writing of every resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from pgfleet.console.sandbox.answers import answer, encoded
from pgfleet.console.sandbox.kubernetes.admission import check, name_of_new, with_defaults
from pgfleet.console.sandbox.kubernetes.listing import cut_page, encoded_list
from pgfleet.console.sandbox.kubernetes.patches import patched
from pgfleet.console.sandbox.kubernetes.paths import Target, parse_path
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, conflict, not_found, success
from pgfleet.console.sandbox.kubernetes.resources import NAMESPACES
from pgfleet.console.sandbox.kubernetes.selectors import Selector, parse_selector

if TYPE_CHECKING:
    from aiohttp import web

    from pgfleet.console.sandbox.kubernetes.cluster import Cluster
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Record

FIXED_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class Api:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._store = cluster.store

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        target = parse_path(request.path)
        for unserved in ("dryRun", "watch"):
            if request.query.get(unserved):
                raise RefusedError(501, f"the sandbox has no {unserved}")
        body = await read_body(request) if request.body_exists else None
        if target.subresource not in ("", "status"):
            return await self._answer_subresource(request, target)
        if target.name:
            return self._answer_object(request, target, body)
        return self._answer_collection(request, target, body)

    def _answer_object(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        record = self._existing(target)
        match request.method:
            case "GET":
                return encoded(record.raw)
            case "PATCH":
                body = patched(request.content_type, record.body(), body)
                return encoded(self._update(target, record, body).raw)
            case "DELETE":
                return self._delete(request, target, record, body or {})
        raise RefusedError(405, "the server does not allow this method on the requested resource")

    def _answer_collection(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        match request.method:
            case "GET":
                return self._list(request, target)
            case "POST":
                return encoded(self._create(target, body).raw, 201)
        raise RefusedError(405, "the server does not allow this method on the requested resource")

    async def _answer_subresource(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        record = self._existing(target)
        if target.resource.plural == "pods" and target.subresource == "exec":
            return await self._cluster.executions.answer(request, record)
        raise RefusedError(501, f"the sandbox has no {target.subresource} of {target.resource.plural}")

    def _existing(self, target: Target) -> Record:
        record = self._store.get(target.key)
        if record is None:
            raise not_found(target.resource.plural, target.name)
        return record

    def _list(self, request: web.BaseRequest, target: Target) -> web.Response:
        query, selector = request.query, selector_of(request, target)
        records = self._store.select(target.resource.plural, target.namespace, selector)
        limit, token = whole_number(query.get("limit", "0")), query.get("continue", "")
        page, metadata = cut_page(self._store, records, limit, token)
        return encoded(encoded_list(target.resource.plural, page, metadata))

    def _create(self, target: Target, body: Any) -> Record:
        plural, namespace = target.resource.plural, target.namespace
        if not isinstance(body, dict):
            raise RefusedError(400, "an object is needed in the body of the request")
        if target.resource.namespaced != bool(namespace):
            raise RefusedError(405, "the server does not allow this method on the requested resource")
        if namespace and namespace not in NAMESPACES:
            raise not_found("namespaces", namespace)
        name = name_of_new(plural, body)
        metadata = body["metadata"]
        if metadata.get("resourceVersion"):
            raise RefusedError(400, "resourceVersion should not be set on objects to be created")
        if metadata.setdefault("namespace", namespace) != namespace:
            raise RefusedError(400, "the namespace of the provided object does not match the request")
        if not namespace:
            del metadata["namespace"]
        check(plural, name, body)
        with_defaults(plural, body)
        for field in FIXED_METADATA:
            metadata.pop(field, None)
        key = (plural, namespace, name)
        if plural == "services" and self._store.get(key) is None:
            self._cluster.addresses.assign(key, body)
        return self._store.add(key, body)

    def _update(self, target: Target, record: Record, body: Object) -> Record:
        """The whole object, but for its status; the status alone for that subresource."""
        before = record.body()
        plural, name = target.resource.plural, target.name
        metadata = body.setdefault("metadata", {})
        self._check_version(target, record, metadata)
        if target.subresource == "status":
            body = before | {"status": body.get("status", {})}
        else:
            _keep_fixed(metadata, before["metadata"])
            check(plural, name, body)
            if target.resource.has_status:
                body["status"] = before.get("status", {})
        after = self._store.put(record, body)
        self._cluster.deletions.finish_if_released(after)
        return after

    def _check_version(self, target: Target, record: Record, metadata: Object) -> None:
        plural, name = target.resource.plural, target.name
        if (metadata.get("name") or name) != name:
            raise RefusedError(400, "the name of the object does not match the name on the URL")
        if (metadata.get("uid") or record.uid) != record.uid:
            raise conflict(plural, name, f"Precondition failed: UID in precondition: {metadata['uid']}")
        if (metadata.get("resourceVersion") or str(record.version)) != str(record.version):
            raise conflict(
                plural,
                name,
                "the object has been modified; please apply your changes to the latest version and try again",
            )

    def _delete(self, request: web.BaseRequest, target: Target, record: Record, options: Object) -> web.Response:
        plural, name = target.resource.plural, target.name
        wanted = options.get("preconditions") or {}
        self._check_version(target, record, {field: value for field, value in wanted.items() if value})
        asked = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        gone = self._cluster.deletions.delete(record, None if asked is None else whole_number(asked))
        if target.resource.deletion_answers_object:
            return encoded(gone.raw)
        return answer(success(plural, name, record.uid))


def selector_of(request: web.BaseRequest, target: Target) -> Selector:
    labels, fields = (request.query.get(name, "") for name in ("labelSelector", "fieldSelector"))
    return parse_selector(labels, fields, target.resource)


async def read_body(request: web.BaseRequest) -> Any:
    """Raises `RefusedError` (400) for what is no JSON."""
    raw = await request.read()
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body of the request is no JSON: {error}") from error


def whole_number(text: Any) -> int:
    try:
        number = int(text)
    except ValueError as error:
        raise RefusedError(400, f"a whole number was expected, not {text!r}") from error
    if number < 0:
        raise RefusedError(400, f"the number must not be negative: {number}")
    return number


def _keep_fixed(metadata: Object, before: Object) -> None:
    for field in (*FIXED_METADATA, "name", "namespace"):
        metadata.pop(field, None)
        if field in before:
            metadata[field] = before[field]
