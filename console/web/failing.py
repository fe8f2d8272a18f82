"""What goes wrong, as a page: what happened, and what to do; a page a status."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import htpy as h
from starlette.responses import Response

from pgfleet.console.web.look.frame import Around, alone
from pgfleet.console.web.safety import HEADERS
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Role, Whose

HTML = "text/html; charset=utf-8"
# After how long a page that can't be shown now is asked for again, by itself.
AGAIN_S = 5
TITLES: Mapping[int, str] = {
    400: "This can't be used",
    401: "You are not signed in",
    403: "This is not for you to do",
    404: "There is nothing here",
    405: "This address is not asked so",
    409: "This can't be done as things are",
    410: "This is not kept any more",
    413: "This is too large",
    415: "This form can't be read",
    422: "This was used for something else",
    429: "Too many requests",
    500: "A mistake of this program",
    503: "Not available now",
}
WHAT_TO_DO: Mapping[int, str] = {
    400: "Go back, and change what is named above.",
    401: "Sign in; a session ends after some hours, and with the key it was begun with.",
    403: "Ask somebody whose role may do it, or an ADMIN for that role.",
    404: "It may have gone, or it is somebody else's. Begin with the fleet.",
    405: "Begin with the fleet.",
    409: "Go back, and look at how things are now.",
    410: "Begin anew at the first page.",
    422: "Go back, reload the page, and try again.",
    429: "Wait for a moment, then go back.",
    500: "Try again. If it stays so, give whoever operates the fleet the name below: the log has more under it.",
    503: "Nothing was taken. This page tries again by itself.",
}
# Of a button that deletes: whoever presses it a second time, or after somebody else, has what was wanted.
GONE = (
    "It is gone: you or somebody else did this before, and to press twice does it once. "
    "If you have never seen it, it is somebody else's."
)
# Of a form, which nobody sends again but who has filled it in.
NOT_READ = "Go back, and try again in a moment: the same form, sent twice, is done once."


def page_of(  # noqa: PLR0913  # what a page about a problem has to know
    problem: Response,
    around: Around,
    back: str | None = None,
    *,
    is_read: bool = True,
    written: Mapping[str, str] = MappingProxyType({}),
    asked: Endpoint | None = None,
) -> Response:
    """A problem of the API as a page of its status; `back` is where to go on, `written` what must not be lost.

    `asked` is who has answered so: then it is known who may, and what is gone because it was deleted before.
    """
    said = told(problem)
    status = problem.status_code
    is_away = status == HTTPStatus.SERVICE_UNAVAILABLE
    refresh_s = AGAIN_S if is_away and is_read else None
    errors = said.get("errors") or ()
    title, what_to_do = _words(status, asked)
    content = alone(
        title,
        around,
        h.p(".what")[said.get("detail") or HTTPStatus(status).phrase],
        len(errors) > 1 and h.ul[(h.li[f"{each['field']}: {each['reason']}"] for each in errors)],
        said.get("hint") and h.p[said["hint"]],
        h.p(".dim")[NOT_READ if is_away and not is_read else what_to_do],
        (
            h.label[f"What you wrote ({name})", h.textarea(readonly=True, rows="16")["\n" + text]]
            for name, text in written.items()
        ),
        said.get("instance") and h.p[h.code[said["instance"]]],
        h.p[h.a(".button", href=back or "/")["Back" if back else "To the fleet"]],
        h.p(".dim")[f"Status {status}"],
        refresh_s=refresh_s,
    )
    kept = {name: problem.headers[name] for name in ("retry-after", "allow") if name in problem.headers}
    return html(content, status, kept)


def _words(status: int, asked: Endpoint | None) -> tuple[str, str]:
    """The title, and what to do."""
    if status == HTTPStatus.NOT_FOUND and asked is not None and asked.method == "DELETE":
        return "This is done already", GONE
    if status == HTTPStatus.FORBIDDEN and asked is not None:
        people = (Role.USER, Role.DEVOPS, Role.ADMIN)
        roles = " or ".join(role for role in people if whose(asked.permission, role) != Whose.NOBODYS)
        return TITLES[status], f"Who has the role {roles} may. Ask one of them, or an ADMIN for that role."
    return TITLES.get(status, HTTPStatus(status).phrase), WHAT_TO_DO.get(status, "Go back, and try again.")


def told(problem: Response) -> dict[str, Any]:
    """What a problem says; nothing where it is none."""
    try:
        found = json.loads(bytes(problem.body))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def html(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, status, {**HEADERS, "Cache-Control": "no-store", **(headers or {})}, HTML)


def sent_on(address: str) -> Response:
    """After a form, or to where one signs in."""
    return Response(
        status_code=303,
        headers={**HEADERS, "Location": quote(address, safe="/?&=%:~-._#,+@"), "Cache-Control": "no-store"},
    )
