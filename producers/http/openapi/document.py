"""OpenAPI 3.1, made from the endpoints: their models are what requests are checked by and answers are made by."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.events.streams import MEDIA_TYPE as EVENTS
from pgfleet.producers.http.permissions import OPEN, PERMISSIONS
from pgfleet.producers.http.problem import MEDIA_TYPE, SLUGS, TYPE
from pgfleet.schema.asking import Whose
from pgfleet.schema.disk import DISK_NAME

REFS = "#/components/schemas/{model}"
# What any endpoint may answer with, whatever it is.
ALL = (400, 401, 403, 429, 503)
PARAMETER = re.compile(r"\{(\w+)\}")
# What may stand in a path, where more than any text can't: `name` is a disk's.
IN_PATH = {"name": {"pattern": DISK_NAME}}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "As draft-ietf-httpapi-idempotency-key-header says: the same request with the same key is done "
    "once, and answered as the first was, for 24 hours. With another request it is 422; while the first is being done, "
    "409 with Retry-After; 409 also where the answer held a key or secret that was shown once. What was refused may be "
    "asked again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was read: what came since comes first. Without it, from now on.",
    "schema": {"type": "string", "pattern": r"^[0-9]{1,10}\.[0-9]{1,20}\.[0-9]{1,19}$"},
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [TYPE + slug for slug in SLUGS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The whole document; equal for equal code."""
    listed = list(endpoints)
    models = sorted(_models(listed), key=lambda each: (each[0].__name__, each[1]))
    refs, schemas = models_json_schema([*models], ref_template=REFS)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pgfleet",
            "version": version,
            "description": "GPU dev servers, disks, clusters, nodes. What changes something is sent as a message and "
            "answered with 202; a worker does the rest.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"node": []}],
        "tags": [{"name": tag} for tag in sorted({endpoint.tag for endpoint in listed})],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Problem": PROBLEM},
            "responses": {str(status): _problem(status) for status in sorted(_statuses(listed))},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a token of a configured issuer; of a node, its key.",
                },
                "node": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The key of a node."},
            },
        },
    }


def _models(endpoints: Iterable[Endpoint]) -> set[tuple[type[BaseModel], Any]]:
    taken = {(each.takes, "validation") for each in endpoints if each.takes is not None}
    given = {(each.gives, "serialization") for each in endpoints if each.gives is not None}
    return {*taken, *given}


def _statuses(endpoints: Iterable[Endpoint]) -> set[int]:
    return {status for endpoint in endpoints for status in _refusals(endpoint)}


def _refusals(endpoint: Endpoint) -> tuple[int, ...]:
    """Which problems an endpoint may answer with."""
    of_body = (409, 413, 415) if endpoint.takes is not None else (409, 413) if endpoint.audit is not None else ()
    of_keys = (422,) if endpoint.is_done_once else ()
    of_reads = (410,) if endpoint.streams else (304,) if endpoint.method == "GET" else ()
    return (*ALL, *of_body, *of_keys, *endpoint.refuses, *of_reads)


def _problem(status: int) -> dict[str, Any]:
    if status == HTTPStatus.NOT_MODIFIED:
        return {"description": "It is as If-None-Match says."}
    headers = {"Retry-After": {"schema": {"type": "string"}}} if status in (409, 429, 503) else {}
    schema = {"$ref": REFS.format(model="Problem")}
    described = {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
    return {**described, "headers": headers} if headers else described


def _operation(endpoint: Endpoint, refs: Mapping[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.does,
        "description": _who_may(endpoint.permission),
        "tags": [endpoint.tag],
        "responses": _responses(endpoint, refs),
    }
    if endpoint.is_open:
        made["security"] = []
    parameters = [*_path_parameters(endpoint), *_query_parameters(endpoint.asks)]
    if endpoint.streams:
        parameters.append(LAST_EVENT_ID)
    if endpoint.is_done_once:
        parameters.append(IDEMPOTENCY_KEY)
    if parameters:
        made["parameters"] = parameters
    if endpoint.takes is not None:
        content: dict[str, Any] = {"schema": refs[endpoint.takes, "validation"]}
        if endpoint.example is not None:
            content["example"] = dict(endpoint.example)
        is_needed = any(field.is_required() for field in endpoint.takes.model_fields.values())
        made["requestBody"] = {"required": is_needed, "content": {"application/json": content}}
    return made


def _who_may(permission: str) -> str:
    if permission in OPEN:
        return "Anybody may."
    words = {Whose.ANY: "everybody's", Whose.OWN: "their own"}
    listed = [f"{role} ({words[of]})" for role, of in PERMISSIONS[permission].items() if of in words]
    return f"Who may ({permission}): {', '.join(listed)}."


def _responses(endpoint: Endpoint, refs: Mapping[Any, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.streams:
        done["content"] = {EVENTS: {"schema": {"type": "string"}}}
    if endpoint.gives is not None:
        done["content"] = {"application/json": {"schema": refs[endpoint.gives, "serialization"]}}
    if endpoint.status == HTTPStatus.ACCEPTED:
        done["headers"] = {"Location": {"schema": {"type": "string"}}}
    refused = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted({*_refusals(endpoint)})}
    return {str(endpoint.status): done, **refused}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **IN_PATH.get(name, {"minLength": 1})},
        }
        for name in PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _flat(part, schema)}
        for name, part in schema["properties"].items()
    ]


def _flat(part: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema without references, titles, and null, which a parameter can't be."""
    if "$ref" in part:
        part = schema["$defs"][str(part["$ref"]).rpartition("/")[2]]
    if "anyOf" in part:
        (kept,) = [each for each in part["anyOf"] if each.get("type") != "null"]
        part = {**{name: value for name, value in part.items() if name not in ("anyOf", "default")}, **kept}
        return _flat(part, schema)
    return {name: value for name, value in part.items() if name != "title"}
