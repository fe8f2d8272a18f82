"""Passwords of local accounts, as bcrypt hashes. bcrypt comes with the `serve` extra: imported where it is used."""

import unicodedata

from pgfleet.schema.errors import Refusal

SHORTEST = 12
# bcrypt looks at no more: what is longer is refused, as half a password would open the account.
LONGEST_BYTES = 72
ROUNDS = 12
# Of no password: with it, an e-mail that is nobody's takes as long as any.
NOBODYS = b"$2b$12$i1tpnuZsO20QN/LK7mlv3erOHwUGw1tBLKHTrAoAYxBVtesrctPiW"


def hash_of(password: str) -> str:
    """The bcrypt hash of a new password.

    Raises:
        Refusal: it is too short or too long, or has letters that are none.
    """
    import bcrypt  # noqa: PLC0415  # of the serve extra

    given = _bytes(password)
    if given is None:
        raise Refusal(f"A password has at most {LONGEST_BYTES} bytes of text; in Latin letters, as many letters.")
    if len(password) < SHORTEST:
        raise Refusal(f"A password has at least {SHORTEST} characters.")
    return bcrypt.hashpw(given, bcrypt.gensalt(ROUNDS)).decode()


def is_right(password: str, hashed: str | None) -> bool:
    """Whether it is the password of this hash; without a hash it is not, and it takes as long to say so."""
    import bcrypt  # noqa: PLC0415  # of the serve extra

    given = _bytes(password)
    known = NOBODYS if hashed is None or given is None else hashed.encode()
    fits = bcrypt.checkpw(given or b"no password", known)
    return fits and hashed is not None and given is not None


def _bytes(password: str) -> bytes | None:
    """As bcrypt takes it, in one form of letters that can be written in several; None where it can't."""
    try:
        given = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return given if 0 < len(given) <= LONGEST_BYTES and b"\0" not in given else None
