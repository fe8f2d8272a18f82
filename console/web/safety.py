"""What protects whoever looks: the headers of each page, the cookie of a session, and that a form is one of ours."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import quote, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from pgfleet.producers.http.settings import ServeSettings

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex",
}
SESSION, THEME, SAID, FLOW = "pgfleet_session", "pgfleet_theme", "pgfleet_said", "pgfleet_flow"
LONGEST_SAID = 400


def cookies_in(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The cookies of a request; one that can't be read is none."""
    try:
        return {name: each.value for name, each in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def session_in(headers: Mapping[str, str]) -> str | None:
    """The key that the browser holds. Where it came over https, only a cookie that no other host can have set."""
    cookies = cookies_in(headers)
    return cookies.get(f"__Host-{SESSION}") or cookies.get(SESSION) or None


def said_in(headers: Mapping[str, str]) -> str | None:
    """What the form before this page has led to."""
    return unquote(cookies_in(headers).get(SAID, ""))[:LONGEST_SAID] or None


def theme_in(headers: Mapping[str, str]) -> str | None:
    theme = cookies_in(headers).get(THEME)
    return theme if theme in ("light", "dark") else None


def is_https(request: Request, serving: ServeSettings) -> bool:
    """Whether the browser speaks https with us, or with the proxy that we trust."""
    if request.url.scheme == "https" or (serving.public_url or "").startswith("https:"):
        return True
    try:
        peer = ip_address(request.client.host) if request.client else None
    except ValueError:
        return False
    is_trusted = peer is not None and any(peer in network for network in serving.trusted_proxies)
    return is_trusted and request.headers.get("x-forwarded-proto", "").strip().lower() == "https"


def set_session(response: Response, key: str, *, secure: bool, hours: float) -> None:
    """For the life of the key; scripts can't read it, and no other site's form sends it."""
    name = f"__Host-{SESSION}" if secure else SESSION
    response.set_cookie(name, key, round(hours * 3600), path="/", secure=secure, httponly=True, samesite="lax")


def drop_session(response: Response, *, secure: bool) -> None:
    for name in (f"__Host-{SESSION}", SESSION):
        response.delete_cookie(name, path="/", secure=secure or name != SESSION, httponly=True, samesite="lax")


def say(response: Response, text: str) -> None:
    """Something for the next page to show, once."""
    response.set_cookie(SAID, quote(text[:LONGEST_SAID]), 60, path="/", httponly=True, samesite="lax")


def is_own_form(request: Request, serving: ServeSettings) -> bool:
    """Whether a POST comes from a page of ours: another site's never says so, whatever its form holds.

    Browsers say where it comes from (`Sec-Fetch-Site`, over https and on this machine; else `Origin`), and no page can
    say so for them. What says neither is no browser, and has the API.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return False
    return origin == serving.public_url or urlsplit(origin).netloc == request.headers.get("host", "")


def local_path(given: str | None, otherwise: str = "/") -> str:
    """An address of ours to go to; anything else is none: `//host`, `https:`, a line break."""
    if given is None or not given.startswith("/") or given.startswith(("//", "/\\")):
        return otherwise
    return given if given.isprintable() and "\\" not in given else otherwise
