"""Sessions: begun with any proof that the API takes, ended by who holds them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from pgfleet.console.web import safety
from pgfleet.console.web.failing import page_of, sent_on, told
from pgfleet.console.web.page import PLACE
from pgfleet.console.web.visiting import SIGN_IN, answered, around_of, proven
from pgfleet.producers.http.answering import Asked
from pgfleet.producers.http.application import Ground
from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint
from pgfleet.producers.http.endpoints.sessions import ENDPOINTS as OPEN
from pgfleet.producers.http.endpoints.sessions import sign_in
from pgfleet.producers.http.problem import problem
from pgfleet.schema.identity import sessions
from pgfleet.schema.identity.keys import revoke

WITH_PASSWORD = next(each for each in OPEN if each.handle is sign_in)


def begin_session(call: Call) -> Answer:
    made = sessions.begin(call.conn, call.principal, hours=call.serving.session_hours)
    return Answer({"key": made.key}, about=str(made.key_id), name=made.prefix)


def end_session(call: Call) -> Answer:
    ended = revoke(call.conn, str(call.principal.key_id))
    return Answer({"ended": True}, about=str(ended["key_id"]), name=ended["key_prefix"])


def _endpoint(does: str, handle: object, audit: Audit) -> Endpoint:
    return Endpoint("POST", f"{PLACE}/sessions", does, "me.read", handle, audit=audit)  # type: ignore[arg-type]


BEGINS = _endpoint("Begin a session", begin_session, Audit("SIGNED_IN", "AUTH", "key"))
ENDS = _endpoint("End it", end_session, Audit("SIGNED_OUT", "AUTH", "key"))


async def with_proof(ground: Ground, asked: Asked, proof: str, how: str) -> Response:
    """A session by a key or a token; its key is in the answer, or what is wrong."""
    endpoint = replace(BEGINS, audit=Audit("SIGNED_IN", "AUTH", "key", how))
    return await answered(ground, endpoint, _bringing(asked, {"authorization": f"Bearer {proof}"}, b""))


async def with_password(ground: Ground, asked: Asked, email: str, password: str) -> Response:
    """The same by a local account's password: wrong ones slow down, as they do for the API."""
    given = {"email": email, "password": password, "hours": ground.desk.serving.session_hours}
    headers = {"content-type": "application/json"}
    return await answered(ground, WITH_PASSWORD, _bringing(asked, headers, json.dumps(given).encode()))


def _bringing(asked: Asked, headers: Mapping[str, str], body: bytes) -> Asked:
    agent = {"user-agent": asked.headers["user-agent"]} if "user-agent" in asked.headers else {}
    return replace(asked, path={}, query=b"", headers={**agent, **headers}, body=body)


def begun(request: Request, ground: Ground, found: Response, onward: str) -> Response | None:
    """Into the fleet with the cookie of a session that has begun; None where none has."""
    key = told(found).get("key")
    if found.status_code >= HTTPStatus.BAD_REQUEST or not isinstance(key, str):
        return None
    response = sent_on(safety.local_path(onward))
    serving = ground.desk.serving
    safety.set_session(response, key, secure=safety.is_https(request, serving), hours=serving.session_hours)
    return response


async def ended(request: Request, ground: Ground) -> Response:
    """`POST /sign-out`: the key is good for nothing any more, and the cookie goes."""
    if not safety.is_own_form(request, ground.desk.serving):
        refused = problem(403, "not-permitted", "This form came from another site; you are still signed in.")
        return page_of(refused, around_of(request))
    asked = await proven(request, ground)
    if asked is not None:
        await answered(ground, ENDS, replace(asked, path={}, query=b"", body=b""))
    response = sent_on(SIGN_IN)
    safety.drop_session(response, secure=safety.is_https(request, ground.desk.serving))
    return response
