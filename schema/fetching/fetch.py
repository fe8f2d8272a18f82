"""HTTP requests of our own: to servers of SSH keys, of Hopsworks, of tokens' issuers, and to whatever comes next.

Who answers is a stranger. Redirects are not followed, cookies not kept, the environment's proxies not asked, and TLS is
verified; all of an answer has a bound: time, bytes, headers. Compression is not asked for, and what is compressed all
the same is not unpacked: it is no answer. Numbers, depth and names in JSON are those that all readers agree on.

No error of this module holds the request, which may hold a key: httpx's own do, so they are never chained.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import httpx

from pgfleet.schema.fetching.bounded import BoundedTransport, Bounds
from pgfleet.schema.queue.reading import read_document
from pgfleet.schema.tracing import spans

WORDS_LENGTH = 300
USER_AGENT = "pgfleet"
# Of JSON: twenty thousand users with a dozen fields each, and whatever a server nests in them.
MOST_PARTS = 250_000
DEEPEST = 32


class NoReplyError(Exception):
    """There was no answer, or one that is none; the text says why, and holds nothing of the request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of whatever status; its header names are lower-case."""

    status: int
    # Not shown: a server may quote the key.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object that the body is; None where it is anything else."""
        return document_of(self.body)

    def is_of_type(self, media_type: str) -> bool:
        """Whether it says that it is of such a type, as `text/html`."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == media_type


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Requests of the threads of one process, within the same bounds."""

    http: httpx.Client = field(repr=False)
    size_bytes: int

    def fetch(  # noqa: PLR0913  # what a request is
        self,
        method: str,
        url: str | httpx.URL,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        document: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and read all of its answer, which may be of any status.

        Raises:
            NoReplyError: there was none within the bounds.
        """
        try:
            # httpx.Headers shows no Authorization in its repr.
            said = httpx.Headers(headers)
            sent = self.http.build_request(method, url, headers=said, params=params, json=document, data=form)
            # Its host and no more: an address may hold a key.
            with spans.calling(f"{method} {sent.url.host}"):
                response = self.http.send(sent, stream=True, follow_redirects=False)
                try:
                    body = _body(response, self.size_bytes)
                finally:
                    response.close()
        except httpx.ConnectError as error:
            # The error's text may be shown, say on a certificate: nothing has been sent yet.
            failed = f"got no answer (ConnectError: {line(str(error))})"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failed = f"got no answer ({type(error).__name__})"
        else:
            if isinstance(body, bytes):
                return Reply(response.status_code, dict(response.headers), body)
            failed = body
        raise NoReplyError(failed)


def client(transport: BoundedTransport, timeout_s: float) -> httpx.Client:
    """Connections that keep no cookie, follow nobody elsewhere, and ask for what is not compressed."""
    return httpx.Client(
        transport=transport,
        timeout=timeout_s,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    )


@contextmanager
def fetching(timeout_s: float, size_bytes: int, proxy: str | None = None) -> Iterator[Fetcher]:
    """Connections for one kind of server. What one of them says, say in a cookie, reaches no other."""
    transport = BoundedTransport(Bounds(timeout_s, size_bytes), proxy)
    with client(transport, timeout_s) as http:
        yield Fetcher(http, size_bytes)


def plain_url(address: str) -> httpx.URL | None:
    """An http(s) address with nothing but host and path; None where it is anything else."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        return None
    return url


def in_path(name: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(name, safe="")


def line(said: str, *secrets: str) -> str:
    """What a server has said, as a piece of one line: printable, not long, and without these secrets."""
    for secret in filter(None, secrets):
        said = said.replace(secret, "***")
    return "".join(letter if letter.isprintable() else " " for letter in said[:WORDS_LENGTH])


def _body(response: httpx.Response, size_bytes: int) -> bytes | str:
    """All bytes of a body, as they come; or what is wrong with them."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        return "was answered with something compressed, which nobody asked for"
    too_much = f"was answered with more than {size_bytes / 1024**2:g} MiB"
    size = response.headers.get("Content-Length", "")
    if size.isdecimal() and int(size[:20]) > size_bytes:
        return too_much
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > size_bytes:
            return too_much
    return bytes(body)


def document_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object that these bytes are, as all readers agree on it; None for anything else."""
    # A few bytes of JSON are a hundred in memory: `[],[],`.
    if sum(map(body.count, (b"{", b"[", b","))) > MOST_PARTS:
        return None
    try:
        document = read_document(body, DEEPEST)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
