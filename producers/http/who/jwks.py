"""The keys that an issuer publishes (RFC 7517), as far as we believe what they sign.

A key says by its own type which algorithms it is for; what a token says about itself chooses among those and adds
none. So no public key is ever a shared secret, and none of one curve verifies the signatures of another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final[Mapping[str, str]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
ALGORITHMS: Final = (*RSA, *CURVES.values())
LEAST_BITS, MOST_BITS = 2048, 8192
MOST_KEYS = 100
KID_LENGTH = 256


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may sign tokens, by these algorithms only."""

    kid: str | None
    algorithms: frozenset[str]
    key: RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


def keys_in(document: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The keys of a set that can be used; what is weak, secret, or for something else is left out."""
    published = document.get("keys")
    if not isinstance(published, list):
        return ()
    return tuple(key for each in published[:MOST_KEYS] if isinstance(each, dict) and (key := _key(each)) is not None)


def fitting(keys: Iterable[PublicKey], kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
    """The keys that may have signed a token; without a `kid` there must be no choice."""
    able = tuple(key for key in keys if algorithm in key.algorithms)
    if kid is None:
        return able if len(able) == 1 else ()
    return tuple(key for key in able if key.kid == kid)


def _key(given: Mapping[str, Any]) -> PublicKey | None:
    kid = given.get("kid")
    if (kid is not None and not _is_kid(kid)) or not _signs(given):
        return None
    if given.get("kty") == "RSA":
        public, algorithms = _public(given, "kty", "n", "e"), frozenset(RSA)
    elif given.get("kty") == "EC" and isinstance(given.get("crv"), str) and given["crv"] in CURVES:
        public, algorithms = _public(given, "kty", "crv", "x", "y"), frozenset({CURVES[given["crv"]]})
    else:
        return None
    if "alg" in given:
        algorithms &= {given["alg"]} if isinstance(given["alg"], str) else set()
    return PublicKey(kid, algorithms, public) if public is not None and algorithms else None


def _is_kid(kid: Any) -> bool:
    return isinstance(kid, str) and 0 < len(kid) <= KID_LENGTH


def _signs(given: Mapping[str, Any]) -> bool:
    """Whether it is for signatures, and still a secret: a private key that was published is anybody's."""
    operations = given.get("key_ops")
    may_verify = operations is None or (isinstance(operations, list) and "verify" in operations)
    return given.get("use", "sig") == "sig" and may_verify and "d" not in given


def _public(given: Mapping[str, Any], *members: str) -> RSAPublicKey | EllipticCurvePublicKey | None:
    parts = {name: given.get(name) for name in members}
    if not all(isinstance(part, str) for part in parts.values()):
        return None
    try:
        key = PyJWK(parts, CURVES.get(given.get("crv", ""), RSA[0])).key
    except (PyJWTError, ValueError):
        return None
    if isinstance(key, RSAPublicKey):
        return key if LEAST_BITS <= key.key_size <= MOST_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey) else None
