"""Signing in at an issuer: the authorization code flow with PKCE (RFC 6749, 7636; OpenID Connect Core).

```
/sign-in/oidc --(state, nonce, challenge)--> issuer --(code, state)--> /sign-in/oidc/back --(code, verifier)--> token
```

What the way back is compared with is in a cookie of ten minutes, which only that browser has. The token is verified as
the API verifies it, and is not kept: the session is a key of ours.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response

from pgfleet.console.web import safety
from pgfleet.console.web.entering.session import begun, with_proof
from pgfleet.console.web.entering.sign_in import OIDC
from pgfleet.console.web.failing import page_of, sent_on
from pgfleet.console.web.visiting import SIGN_IN, around_of
from pgfleet.producers.http.application import Ground, asked_in
from pgfleet.producers.http.problem import problem
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.producers.http.who.issuers import DISCOVERY, safe_address
from pgfleet.schema.fetching.fetch import NoReplyError, document_of, fetching
from pgfleet.schema.reads.pages.opaque import closed, opened

BACK = f"{OIDC}/back"
FLOW_S = 600
ANSWER_S, ANSWER_BYTES = 5.0, 1024 * 1024
SCOPE = "openid profile email"


class NoSignInError(Exception):
    """The issuer did not let us, or did not answer; the text says why, and the status which of the two."""

    def __init__(self, text: str, status: int = 503) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Flow:
    """What this browser began with."""

    state: str
    nonce: str
    verifier: str
    onward: str

    @classmethod
    def begun(cls, onward: str) -> "Flow":
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), onward)

    @classmethod
    def kept(cls, cookie: str | None) -> "Flow | None":
        try:
            state, nonce, verifier, onward = opened(cookie or "")
        except ValueError:
            return None
        return cls(str(state), str(nonce), str(verifier), str(onward))

    def cookie(self) -> str:
        return closed(self.state, self.nonce, self.verifier, self.onward)

    def challenge(self) -> str:
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Begins:
    """`GET /sign-in/oidc`."""

    ground: Ground

    async def __call__(self, request: Request) -> Response:
        serving = self.ground.desk.serving
        asked = await asked_in(request, self.ground.desk)
        refused = self.ground.desk.strangers.take(asked.bucket).refusal()
        if refused is not None:
            return page_of(refused, around_of(request), SIGN_IN)
        flow = Flow.begun(safety.local_path(request.query_params.get("next")))
        try:
            about = await _in_thread(self.ground, partial(discovered, serving))
            issuer_page = _address(about, "authorization_endpoint", serving)
        except NoSignInError as error:
            return _failed(request, 503, "issuer-away", str(error))
        wanted = {
            "response_type": "code",
            "client_id": serving.oidc_client_id or "",
            "redirect_uri": back_at(request, serving),
            "scope": SCOPE,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge(),
            "code_challenge_method": "S256",
        }
        response = sent_on(str(httpx.URL(issuer_page).copy_merge_params(wanted)))
        secure = safety.is_https(request, serving)
        response.set_cookie(safety.FLOW, flow.cookie(), FLOW_S, path=OIDC, secure=secure, httponly=True, samesite="lax")
        return response


@dataclass(frozen=True)
class Returns:
    """`GET /sign-in/oidc/back`."""

    ground: Ground

    async def __call__(self, request: Request) -> Response:
        flow = Flow.kept(request.cookies.get(safety.FLOW))
        given = request.query_params
        if flow is None or not secrets.compare_digest(given.get("state", "").encode(), flow.state.encode()):
            return _failed(
                request, 400, "bad-request", "This is not the way back of a sign-in that this browser began."
            )
        if "code" not in given:
            said = given.get("error_description") or given.get("error") or "no code"
            return _failed(request, 403, "not-permitted", f"The issuer did not let you in: {said[:200]}")
        asked = await asked_in(request, self.ground.desk)
        try:
            redeem = partial(
                token_for, self.ground.desk.serving, given["code"], flow, back_at(request, self.ground.desk.serving)
            )
            token = await _in_thread(self.ground, redeem)
        except NoSignInError as error:
            return _failed(request, error.status, "issuer-away", str(error))
        if _nonce_in(token) != flow.nonce:
            return _failed(request, 400, "bad-request", "The token was made for another sign-in.")
        found = await with_proof(self.ground, asked, token, "at an issuer")
        response = begun(request, self.ground, found, flow.onward) or page_of(found, around_of(request), SIGN_IN)
        response.delete_cookie(safety.FLOW, path=OIDC)
        return response


def back_at(request: Request, serving: ServeSettings) -> str:
    """Where the issuer sends the browser back to: as it is registered there."""
    scheme = "https" if safety.is_https(request, serving) else "http"
    return (serving.public_url or f"{scheme}://{request.headers.get('host', '')}") + BACK


def discovered(serving: ServeSettings) -> dict[str, Any]:
    """What the issuer says of itself.

    Raises:
        NoSignInError: nothing that can be used.
    """
    issuer = serving.sign_in_issuer or ""
    try:
        with fetching(ANSWER_S, ANSWER_BYTES) as fetcher:
            reply = fetcher.fetch("GET", issuer.rstrip("/") + DISCOVERY)
    except NoReplyError as error:
        raise NoSignInError(f"The issuer {error}.") from None
    about = reply.document
    if reply.status != httpx.codes.OK or about is None or about.get("issuer") != issuer:
        raise NoSignInError(f"The issuer's discovery document can't be used (status {reply.status}).")
    return about


def token_for(serving: ServeSettings, code: str, flow: Flow, back: str) -> str:
    """The ID token that a code stands for.

    Raises:
        NoSignInError: the issuer gave none.
    """
    client, secret = serving.oidc_client_id or "", serving.oidc_client_secret
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": flow.verifier}
    form |= {"client_id": client} | ({} if secret is None else {"client_secret": secret.get_secret_value()})
    address = _address(discovered(serving), "token_endpoint", serving)
    try:
        with fetching(ANSWER_S, ANSWER_BYTES) as fetcher:
            reply = fetcher.fetch("POST", address, form=form)
    except NoReplyError as error:
        raise NoSignInError(f"The issuer {error}.") from None
    token = (reply.document or {}).get("id_token")
    if reply.status != httpx.codes.OK or not isinstance(token, str):
        status = 503 if reply.status >= httpx.codes.INTERNAL_SERVER_ERROR else 403
        raise NoSignInError(f"The issuer gave no token for its code (it answered {reply.status}).", status)
    return token


def _address(about: dict[str, Any], name: str, serving: ServeSettings) -> str:
    found = safe_address(serving.sign_in_issuer or "", about.get(name), allow_http=serving.oidc_allow_http)
    if found is None:
        raise NoSignInError(f"The issuer's {name} is no address that can be used.")
    return str(found)


def _nonce_in(token: str) -> Any:
    """What is compared only, before the token is verified."""
    try:
        part = token.split(".")[1]
        said = document_of(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        return None
    return None if said is None else said.get("nonce")


async def _in_thread(ground: Ground, call: Any) -> Any:
    found = await ground.crowd.in_thread(call)
    if isinstance(found, Response):
        raise NoSignInError("More is asked than can be answered soon; try again.")
    return found


def _failed(request: Request, status: int, slug: str, detail: str) -> Response:
    # Its address holds a code, which goes into no page.
    around = replace(around_of(request), here=SIGN_IN)
    return page_of(problem(status, slug, detail), around, SIGN_IN, is_read=False)
