"""Tokens of OpenID Connect: one of a configured issuer proves who brings it.

The algorithm is one of the issuer's key, the key is one that the issuer publishes, and whatever else a token's header
names (`jku`, `jwk`, `x5u`, `x5c`) is not looked at. No error holds anything of the token.
"""

import re
import time
from binascii import Error as NoBase64
from collections.abc import Callable, Iterable
from typing import Any

from jwt import PyJWS
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_decode

from pgfleet.producers.http.settings import ServeSettings
from pgfleet.producers.http.who.claims import Claims, Expected, read_claims
from pgfleet.producers.http.who.issuers import Issuer, Known
from pgfleet.producers.http.who.jwks import ALGORITHMS, KID_LENGTH, PublicKey
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.schema.fetching.fetch import document_of

TOKEN_BYTES = 16 * 1024
_FORM = re.compile(r"([\w-]+)\.([\w-]+)\.[\w-]+", re.ASCII)
# Tokens of other uses are signed with the same keys: of a logout, of a request, of a key's possession.
_TYPES = (None, "jwt", "at+jwt", "application/jwt", "application/at+jwt")
_JWS = PyJWS(algorithms=ALGORITHMS)


class Oidc:
    """The issuers that the settings name; `now` is seconds since 1970, `clock` only ever goes on."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self.link_issuer = settings.oidc_link_issuer
        self._issuers = {
            each.issuer: (
                Issuer(each.issuer, allow_http=settings.oidc_allow_http, clock=clock),
                Expected(
                    each.issuer, settings.audience_of(each), settings.oidc_username_claim, settings.oidc_role_claim
                ),
            )
            for each in settings.oidc_issuers
        }

    def __bool__(self) -> bool:
        """Whether any issuer is trusted."""
        return bool(self._issuers)

    def verify(self, token: str) -> Claims:
        """Who a token proves that somebody is.

        Raises:
            NotProvenError: it proves nothing; the reason says why.
            IssuerAwayError: the same, as its issuer does not answer.
        """
        header, said = _parts(token)
        algorithm, kid = _signed_with(header)
        trusted = self._issuers.get(said["iss"]) if isinstance(said.get("iss"), str) else None
        if trusted is None:
            raise NotProvenError(self._no_issuer(said.get("iss")))
        issuer, expected = trusted
        keys = issuer.keys_for(kid, algorithm)
        if not keys:
            raise NotProvenError("it is signed with a key that its issuer does not publish for that")
        if not _is_signed(token, keys, algorithm) and not (
            # Which key it is, nobody has said: it may be the one that follows those that are known.
            kid is None and _is_signed(token, issuer.keys_for(kid, algorithm, doubted=keys), algorithm)
        ):
            raise NotProvenError("its signature is not that of its issuer")
        return read_claims(said, expected, self._now())

    def email_to_link(self, claims: Claims) -> str | None:
        """The e-mail address whose account is this person's: verified, and said by the issuer that settings name."""
        believed = claims.email_verified and claims.issuer == self.link_issuer
        return claims.email if believed else None

    def prepare(self) -> None:
        """Ask all issuers for their keys, in the background: the first who comes need not wait."""
        for issuer, _ in self._issuers.values():
            issuer.prepare()

    def known(self) -> list[Known]:
        """Each issuer's keys and what is wrong with it, for `readyz`, the doctor and metrics."""
        return [issuer.known() for issuer, _ in self._issuers.values()]

    def _no_issuer(self, named: Any) -> str:
        alike = isinstance(named, str) and any(each.rstrip("/") == named.rstrip("/") for each in self._issuers)
        return "its issuer is none of those that are trusted here" + (
            ": PGFLEET_OIDC_ISSUERS has it but for the slash at its end" if alike else ""
        )


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, of which nothing is proven yet."""
    if len(token) > TOKEN_BYTES:
        raise NotProvenError(f"it is longer than {TOKEN_BYTES // 1024} KiB")
    match = _FORM.fullmatch(token)
    if match is None:
        raise NotProvenError("it is no signed token (JWS)")
    header, said = (_object(part) for part in match.groups())
    if header is None or said is None:
        raise NotProvenError("it is no signed token (JWS): a part of it is no JSON object, or names something twice")
    return header, said


def _object(part: str) -> dict[str, Any] | None:
    try:
        return document_of(base64url_decode(part))
    except (NoBase64, ValueError):
        return None


def _signed_with(header: dict[str, Any]) -> tuple[str, str | None]:
    """Algorithm and name of the key."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in ALGORITHMS:
        raise NotProvenError("it is signed by an algorithm that is not taken here: RS, PS and ES are")
    if "crit" in header or "b64" in header:
        raise NotProvenError("it asks for an extension that is not known here (crit)")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise NotProvenError("it is a token for something else (typ)")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_LENGTH):
        raise NotProvenError("it does not name its key as keys are named (kid)")
    return algorithm, kid


def _is_signed(token: str, keys: Iterable[PublicKey], algorithm: str) -> bool:
    for key in keys:
        try:
            _JWS.decode(token, key=key.key, algorithms=[algorithm])
        except PyJWTError:
            continue
        return True
    return False
