"""The frame of each page: head, menu, who one is, what was just done, and whether what is shown is live."""

from collections.abc import Iterable
from dataclasses import dataclass

import htpy as h

from pgfleet.console.web.assets import address
from pgfleet.console.web.look.writing import written
from pgfleet.console.web.page import Page, Part
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Whose
from pgfleet.schema.identity.principal import Principal

# No inline style of htmx's, which the Content-Security-Policy would refuse.
# What somebody has unfolded stays so when its part is sent anew.
CONFIG = '{"includeIndicatorCSS":false,"history":false,"morphIgnore":["data-htmx-powered","open"]}'
THEMES = {None: ("dark", "◐ Dark"), "dark": ("light", "○ Light"), "light": ("", "◑ As the system")}


@dataclass(frozen=True, slots=True)
class Around:
    """What a frame needs to know of a request."""

    theme: str | None = None
    said: str | None = None
    here: str = "/"


def document(title: str, around: Around, *body: h.Node, refresh_s: int | None = None) -> bytes:
    """A whole page; `refresh_s`: it is asked for again after so long."""
    page = h.html(lang="en", data_theme=around.theme)[
        h.head[
            h.meta(charset="utf-8"),
            h.meta(name="viewport", content="width=device-width, initial-scale=1"),
            h.meta(name="htmx-config", content=CONFIG),
            refresh_s and h.meta({"http-equiv": "refresh"}, content=str(refresh_s)),
            h.title[f"{title} · pgfleet"],
            h.link(rel="icon", href=address("icon.svg"), type="image/svg+xml"),
            h.link(rel="stylesheet", href=address("style.css")),
            (h.script(src=address(name), defer=True) for name in ("htmx.min.js", "hx-sse.min.js", "app.js")),
        ],
        h.body[h.a(".skip", href="#main")["To the content"], body],
    ]
    return written(page).encode("utf-8", "replace")


def framed(  # noqa: PLR0913  # what is around a page
    page: Page,
    title: str,
    parts: Iterable[Part],
    principal: Principal,
    menu: Iterable[Page],
    around: Around,
    live: str | None,
) -> bytes:
    """A page with its menu; `live` is the address of its stream."""
    return document(
        title,
        around,
        h.header(".top")[
            h.a(".brand", href="/")["pgfleet"],
            h.nav(aria_label="Main")[h.ul[(h.li[_item(each, page)] for each in menu if _may(each, principal))]],
            _who(principal, around),
        ],
        h.p("#freshness.freshness", role="status", data_live=live and "yes", hidden=True),
        around.said and h.p(".said", role="status")[around.said],
        h.main("#main", tabindex="-1")[h.h1[title], (h.section(".part", id=part.id)[part.content] for part in parts)],
        live and h.div("#live", {"hx-sse:connect": live, "hx-swap": "none"}),
    )


def alone(title: str, around: Around, *content: h.Node, refresh_s: int | None = None) -> bytes:
    """A page of who is nobody yet, or about what went wrong."""
    return document(
        title,
        around,
        h.header(".top")[h.a(".brand", href="/")["pgfleet"], _theme(around)],
        h.main("#main.alone", tabindex="-1")[h.h1[title], content],
        refresh_s=refresh_s,
    )


def _may(page: Page, principal: Principal) -> bool:
    return page.menu is not None and whose(page.permission, principal.role) != Whose.NOBODYS


def _item(page: Page, current: Page) -> h.Element:
    is_here = page.path in (current.path, current.under) or (
        page.path != "/" and current.path.startswith(f"{page.path}/")
    )
    return h.a(href=page.path, aria_current="page" if is_here else None)[page.title]


def _who(principal: Principal, around: Around) -> h.Element:
    return h.div(".who")[
        h.span[
            h.a(href="/me", title="Who you are, your keys and limits")[principal.username],
            " ",
            h.span(".dim")[principal.role.value],
        ],
        _theme(around),
        h.form(method="post", action="/sign-out")[h.button(".plain")["Sign out"]],
    ]


def _theme(around: Around) -> h.Element:
    theme, label = THEMES[around.theme]
    return h.form(method="post", action="/theme")[
        h.input(type="hidden", name="back", value=around.here),
        h.button(".plain", name="theme", value=theme, title="Change the colours")[label],
    ]
