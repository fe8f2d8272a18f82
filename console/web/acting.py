"""What a button asks: the API's own endpoint, with the session's proof, a reason, and a key by which twice is once."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

import htpy as h
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from pgfleet.console.web import safety
from pgfleet.console.web.failing import html, page_of, sent_on, told
from pgfleet.console.web.look.buttons import ASKED_AT, BACK, DONE, IN_PATH, ONCE, REASON, operations
from pgfleet.console.web.look.frame import Around, alone
from pgfleet.console.web.visiting import answered, around_of, proven, to_sign_in
from pgfleet.producers.http.application import Ground
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.health.metrics import ENDPOINT
from pgfleet.producers.http.problem import problem

# A page of a list has a box a row, and there are up to 200.
MOST_FIELDS = 300
LONGEST_REASON = 500
FORM = "application/x-www-form-urlencoded"


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form; those of one name, as boxes that are ticked, as one. Nothing where it can't be read."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        return {}
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]} {value}" if name in fields else value
    return fields


def typed(model: type[BaseModel] | None, given: Mapping[str, str]) -> dict[str, Any]:
    """What a form says, as JSON has it: numbers are numbers, a ticked box is true, and an empty field is none.

    What is no number stays text, so that the endpoint says what is wrong with it.
    """
    known = {} if model is None else model.model_json_schema()["properties"]
    return {name: _value(known.get(name, {}), text) for name, text in given.items() if text.strip() != ""}


def _value(schema: Mapping[str, Any], text: str) -> Any:
    said = (schema, *schema.get("anyOf", ()))
    kinds = {each.get("type") for each in said}
    if "boolean" in kinds:
        return text == "on"
    if kinds & {"integer", "number"}:
        try:
            return int(text) if "integer" in kinds else float(text)
        except ValueError:
            return text
    # A form ends each line as the web does; a text of several lines is kept, and hashed, as it was written.
    if "array" not in kinds:
        return text.replace("\r\n", "\n")
    parts = next(each.get("items", {}) for each in said if each.get("type") == "array")
    return [_value(parts, part) for part in text.split()]


def _parameters(model: type[BaseModel] | None, given: Mapping[str, str]) -> dict[str, str]:
    """What a form says to an endpoint that takes no body, as its parameters."""
    return {
        name: json.dumps(value) if isinstance(value, bool) else str(value)
        for name, value in typed(model, given).items()
    }


@dataclass(frozen=True)
class Actions:
    """`POST /do/{operation}`."""

    ground: Ground

    async def __call__(self, request: Request) -> Response:
        around = around_of(request)
        endpoint = operations().get(request.path_params["operation"])
        if endpoint is None:
            return page_of(problem(404, "not-found", "There is no such action."), around)
        request.scope[ENDPOINT] = endpoint.name
        if not safety.is_own_form(request, self.ground.desk.serving):
            return page_of(problem(403, "not-permitted", "This form came from another site; nothing was done."), around)
        asked = await proven(request, self.ground)
        if asked is None:
            return to_sign_in(request, self.ground)
        form = form_of(asked.body)
        back = safety.local_path(form.get(BACK))
        path, fields = _split(form)
        if missing := set(re.findall(r"\{(\w+)\}", endpoint.path)) - path.keys():
            said = f"the form has no {IN_PATH}{min(missing)}"
            return page_of(problem(400, "bad-request", said), around)
        found = await self._done(endpoint, replace(asked, path=path), form, fields)
        if found.status_code == HTTPStatus.UNAUTHORIZED:
            return to_sign_in(request, self.ground)
        if found.status_code >= HTTPStatus.BAD_REQUEST:
            at = _with(safety.local_path(form[ASKED_AT], back), fields) if ASKED_AT in form else back
            return page_of(found, around, at, is_read=False, written=_long(fields), asked=endpoint)
        if endpoint.lost is not None:
            return html(_shown_once(found, around, back))
        made = str(told(found).get("id", ""))
        response = sent_on(back.replace("{id}", made) if made else back)
        safety.say(response, _outcome(found) or form.get(DONE) or "Done.")
        return response

    async def _done(
        self, endpoint: Endpoint, asked: Any, form: Mapping[str, str], fields: Mapping[str, str]
    ) -> Response:
        reason = form.get(REASON, "").strip()[:LONGEST_REASON] or None
        audit = endpoint.audit
        if audit is not None and reason is not None:
            endpoint = replace(endpoint, audit=replace(audit, reason=reason))
        known = {} if endpoint.takes is None else endpoint.takes.model_fields
        body = typed(endpoint.takes, fields)
        if REASON in known and reason is not None:
            body[REASON] = reason
        content = json.dumps(body).encode() if endpoint.takes is not None else b""
        query = b"" if endpoint.takes is not None else urlencode(_parameters(endpoint.asks, fields)).encode()
        headers = {**asked.headers, "content-type": "application/json"}
        if endpoint.is_done_once and form.get(ONCE):
            headers["idempotency-key"] = _key(endpoint, asked.path, form[ONCE], content)
        return await answered(self.ground, endpoint, replace(asked, query=query, body=content, headers=headers))


def _split(form: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What is in the endpoint's path, and what is in its body."""
    ours = {ONCE, BACK, ASKED_AT, DONE, REASON}
    path = {name.removeprefix(IN_PATH): value for name, value in form.items() if name.startswith(IN_PATH)}
    return path, {name: value for name, value in form.items() if name not in ours and not name.startswith(IN_PATH)}


def _key(endpoint: Endpoint, path: Mapping[str, str], once: str, content: bytes) -> str:
    """The same button, pressed twice with the same in its fields, is one request."""
    said = json.dumps([endpoint.name, dict(path), once]).encode()
    return sha256(said + content).hexdigest()


def _with(back: str, fields: Mapping[str, str]) -> str:
    """Where the form was, with what was typed into it: pages with a form read it from their address."""
    if not fields or "?" in back:
        return back
    return f"{back}?{urlencode({name: text for name, text in fields.items() if text and 'password' not in name})}"


def _long(fields: Mapping[str, str]) -> dict[str, str]:
    """What somebody would not like to write again, and no address has room for."""
    return {name: text for name, text in fields.items() if "\n" in text and "password" not in name}


def _outcome(found: Response) -> str | None:
    """What became of it, where the answer says so: of one thing, or of many of which some could not be done."""
    said = told(found)
    items = [item for item in said.get("items", ()) if isinstance(item, dict) and "refused" in item]
    if not items:
        done = said.get("done")
        return f"{done[:1].upper()}{done[1:]}." if isinstance(done, str) else None
    refused = [str(item["refused"]) for item in items if item["refused"] is not None]
    left = f"; {len(refused)} were left as they are, the first because: {refused[0]}" if refused else "."
    return f"{len(items) - len(refused)} of {len(items)} were done{left}"


def _shown_once(found: Response, around: Around, back: str) -> bytes:
    """An answer with what is kept nowhere."""
    said = {name: value for name, value in told(found).items() if value is not None}
    return alone(
        "Shown this once",
        around,
        h.p["Copy it now: it is kept nowhere, and no page shows it again."],
        h.dl[((h.dt[name.replace("_", " ")], h.dd[h.code[str(value)]]) for name, value in said.items())],
        h.p[h.a(".button", href=back)["Done"]],
    )
