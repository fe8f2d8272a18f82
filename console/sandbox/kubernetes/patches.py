"""Merge, strategic merge and JSON patches applied to a parsed object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

# The key by which a strategic patch finds an element of the list of that name; other lists are replaced.
LIST_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "port",
    "addresses": "type",
    "volumes": "name",
    "volumeMounts": "mountPath",
}


def patched(content_type: str, body: Object, patch: Any) -> Object:
    """Changes `body` in place or returns a new one. Raises `RefusedError` for a patch of the wrong form."""
    if content_type == JSON_PATCH:
        return _json_patch(body, patch)
    if content_type not in (MERGE, STRATEGIC):
        raise RefusedError(415, f"the body of the request was in an unknown format: {content_type}")
    if not isinstance(patch, dict):
        raise RefusedError(400, "a merge patch must be an object")
    return _merge(body, patch, strategic=content_type == STRATEGIC)


def _merge(body: Object, patch: Object, *, strategic: bool) -> Object:
    for key, value in patch.items():
        if strategic and key.startswith("$"):
            continue
        if value is None:
            body.pop(key, None)
        elif isinstance(value, dict):
            current = body.get(key)
            body[key] = _merge(current if isinstance(current, dict) else {}, value, strategic=strategic)
        elif strategic and key in LIST_KEYS and _all_objects(value) and _all_objects(body.get(key)):
            body[key] = _merge_list(LIST_KEYS[key], body[key], value)
        else:
            body[key] = value
    return body


def _all_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(element, dict) for element in value)


def _merge_list(key: str, current: list[Object], patch: list[Object]) -> list[Object]:
    merged = {element.get(key): element for element in current}
    for element in patch:
        name = element.get(key)
        if element.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name, {}), element, strategic=True)
    return list(merged.values())


def _json_patch(body: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise RefusedError(400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    for step in patch:
        try:
            _json_step(body, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise RefusedError(422, f"the server rejected the patch: {step}: {error!r}") from error
    return body


def _json_step(body: Object, step: Object) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    target: Any = body
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    index: Any = last
    if isinstance(target, list):
        index = len(target) if last == "-" else int(last)
    match step["op"]:
        case "add" if isinstance(target, list):
            target.insert(index, step["value"])
        case "add":
            target[index] = step["value"]
        case "replace":
            target[index]
            target[index] = step["value"]
        case "remove":
            del target[index]
        case "test":
            if target[index] != step["value"]:
                raise ValueError(f"testing value {step['path']} failed")
        case operation:
            raise ValueError(f"unexpected kind: {operation}")
