"""What a token says, once its signature is proven (RFC 7519, OpenID Connect Core)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.schema.asking import Role

LEEWAY_S = 60
SUBJECT_LENGTH = 255
TEXT_LENGTH = 255
# The end of the year 9999: no later moment can be written.
LAST_MOMENT = 253_402_300_799
MOST_ROLES = 1000
# The roles of people, the highest first; nobody becomes a service or a node by a token.
PEOPLE = (Role.ADMIN, Role.DEVOPS, Role.USER)


@dataclass(frozen=True, slots=True)
class Claims:
    """Who an issuer says that somebody is: `(issuer, subject)` is the identity, all else describes it."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    username: str | None
    name: str | None
    role: Role | None  # None where no setting says in which claim roles are
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Expected:
    """What the tokens of an issuer have to say, and where they say it."""

    issuer: str
    audience: tuple[str, ...]
    username_claims: tuple[str, ...]
    role_claim: str | None


def read_claims(said: Mapping[str, Any], expected: Expected, now: float) -> Claims:
    """What a token says at a moment, in seconds since 1970.

    Raises:
        NotProvenError: it is not for us, not for now, or not about anybody.
    """
    if said.get("iss") != expected.issuer:
        raise NotProvenError("its issuer is not the one whose key has signed it")
    _check_audience(said.get("aud"), expected.audience)
    if "events" in said:
        raise NotProvenError("it tells of an event, and says nothing about who brings it")
    expires_at = _check_times(said, now)
    email = _text(said.get("email"))
    return Claims(
        issuer=expected.issuer,
        subject=_subject(said.get("sub")),
        email=email if email is not None and _is_address(email) else None,
        email_verified=said.get("email_verified") is True,
        username=next(filter(None, (_text(_claim(said, name)) for name in expected.username_claims)), None),
        name=_text(said.get("name")),
        role=None if expected.role_claim is None else _role(_claim(said, expected.role_claim)),
        expires_at=expires_at,
    )


def _check_audience(given: Any, audience: Iterable[str]) -> None:
    meant_for = [given] if isinstance(given, str) else given
    if not isinstance(meant_for, list) or not all(isinstance(each, str) for each in meant_for):
        raise NotProvenError("it does not say for whom it is (aud)")
    if not set(meant_for) & set(audience):
        raise NotProvenError("it is for somebody else (aud)")


def _check_times(said: Mapping[str, Any], now: float) -> datetime:
    expires = _moment(said, "exp")
    if expires is None:
        raise NotProvenError("it has no end (exp)")
    if expires <= now - LEEWAY_S:
        raise NotProvenError("it has expired")
    for name in ("nbf", "iat"):
        since = _moment(said, name)
        if since is not None and since > now + LEEWAY_S:
            raise NotProvenError(f"it is not valid yet ({name})")
    return datetime.fromtimestamp(expires, UTC)


def _moment(said: Mapping[str, Any], name: str) -> float | None:
    if name not in said:
        return None
    given = said[name]
    # In Python, a bool is an int.
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= LAST_MOMENT:
        raise NotProvenError(f"it has no time where one has to be ({name})")
    return float(given)


def _subject(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > SUBJECT_LENGTH or not given.isprintable():
        raise NotProvenError("it does not say who it is about (sub)")
    return given


def _text(given: Any) -> str | None:
    """A line that can be stored and shown; what can't be is as good as not said."""
    text = given.strip() if isinstance(given, str) else ""
    return text if text and len(text) <= TEXT_LENGTH and text.isprintable() else None


def _is_address(email: str) -> bool:
    name, at, domain = email.rpartition("@")
    return bool(name and at and domain) and "@" not in name and " " not in email


def _claim(said: Mapping[str, Any], path: str) -> Any:
    """A claim of exactly this name, or what a dotted path leads to: names that are addresses have dots, too."""
    if path in said:
        return said[path]
    found: Any = said
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _role(given: Any) -> Role:
    """The highest one that is named; whoever has none is a user."""
    named = set(_role_names(given))
    return next((role for role in PEOPLE if role.value in named), Role.USER)


def _role_names(given: Any) -> Iterator[str]:
    for each in given[:MOST_ROLES] if isinstance(given, list) else [given]:
        if isinstance(each, str):
            yield each.strip().upper()
