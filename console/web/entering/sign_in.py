"""`/sign-in`: the page with the three ways in, and the two of them that are forms."""

from dataclasses import dataclass
from urllib.parse import urlencode

import htpy as h
from starlette.requests import Request
from starlette.responses import Response

from pgfleet.console.web import safety
from pgfleet.console.web.acting import form_of
from pgfleet.console.web.entering.session import begun, with_password, with_proof
from pgfleet.console.web.failing import html, page_of, told
from pgfleet.console.web.look.frame import alone
from pgfleet.console.web.visiting import SIGN_IN, around_of
from pgfleet.producers.http.application import Ground, asked_in
from pgfleet.producers.http.problem import problem

OIDC = f"{SIGN_IN}/oidc"


@dataclass(frozen=True)
class SignIn:
    """The page, and its forms."""

    ground: Ground

    async def __call__(self, request: Request) -> Response:
        if request.method != "POST":
            return html(self._page(request, request.query_params.get("next")))
        if not safety.is_own_form(request, self.ground.desk.serving):
            refused = problem(403, "not-permitted", "This form came from another site; nobody was signed in.")
            return page_of(refused, around_of(request), SIGN_IN)
        asked = await asked_in(request, self.ground.desk)
        form = form_of(asked.body)
        if form.get("key"):
            found = await with_proof(self.ground, asked, form["key"].strip(), "with a key")
        else:
            found = await with_password(self.ground, asked, form.get("email", ""), form.get("password", ""))
        response = begun(request, self.ground, found, form.get("next", "/"))
        if response is not None:
            return response
        why = str(told(found).get("detail", "that did not work"))
        kept = {name: found.headers[name] for name in ("retry-after",) if name in found.headers}
        return html(self._page(request, form.get("next"), why, form.get("email", "")), found.status_code, kept)

    def _page(self, request: Request, onward: str | None, why: str | None = None, email: str = "") -> bytes:
        onward = safety.local_path(onward)
        hidden = h.input(type="hidden", name="next", value=onward)
        return alone(
            "Sign in",
            around_of(request),
            why and h.p(".trouble", role="alert")[why],
            self._issuer(onward),
            h.form("#with-key.card", method="post", action=SIGN_IN)[
                hidden,
                h.label[
                    "API key", h.input(name="key", type="password", autocomplete="off", required=True, maxlength="2000")
                ],
                h.button(".button")["Sign in with the key"],
                h.p(".dim")[h.code["pgfleet up"], " prints one; ", h.code["pgfleet keys create"], " makes one."],
            ],
            h.form(".card", method="post", action=SIGN_IN)[
                hidden,
                h.label[
                    "E-mail",
                    h.input(
                        name="email", type="email", autocomplete="username", required=True, value=email, maxlength="255"
                    ),
                ],
                h.label[
                    "Password",
                    h.input(
                        name="password",
                        type="password",
                        autocomplete="current-password",
                        required=True,
                        maxlength="1000",
                    ),
                ],
                h.button(".button")["Sign in with the password"],
            ],
        )

    def _issuer(self, onward: str) -> h.Node:
        issuer = self.ground.desk.serving.sign_in_issuer
        if issuer is None:
            return None
        return h.p(".card")[
            h.a(".button.main", href=f"{OIDC}?{urlencode({'next': onward})}")[
                "Sign in at ", issuer.partition("//")[2].rstrip("/")
            ]
        ]
