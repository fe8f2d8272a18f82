"""Why there was no answer, in words for whoever has subscribed; nothing of the address is in them."""

import ssl
from collections.abc import Iterator

import httpx

from pgfleet.schema.fetching.bounded import TooLongError
from pgfleet.workers.clients.webhooks.reach import REFUSED, NoAddressError, NotPublicError

# OpenSSL's numbers of what is wrong with a certificate.
CERTIFICATES = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    62: "its certificate is of another name",
    64: "its certificate is of another address",
}
UNKNOWN_AUTHORITY = "its certificate is of no authority that is known here"
# The first that fits.
WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (NotPublicError, REFUSED),
    (NoAddressError, "its name has no address"),
    (TooLongError, "its answer is too long"),
    (ssl.SSLError, "no connection by TLS"),
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.TimeoutException, "no answer in time"),
    (httpx.ConnectError, "no connection"),
    (httpx.RemoteProtocolError, "its answer is no HTTP, or too long"),
    (httpx.NetworkError, "the connection ended before an answer"),
    (httpx.InvalidURL, "url: no client can read it"),
)


def unanswered(error: BaseException) -> str:
    """What a request came to that was not answered."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CERTIFICATES.get(cause.verify_code, UNKNOWN_AUTHORITY)
    for sort, words in WORDS:
        if any(isinstance(cause, sort) for cause in causes):
            return words
    return f"no answer ({type(error).__name__})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
