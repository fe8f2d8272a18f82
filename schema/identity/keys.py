"""API keys of people and services: made, listed, ended, and whom one lets in. Of each the database has the SHA-256."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.texts import plain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
KEY_BYTES = 64
PREFIX = 8
# A longer text is no key, and is not hashed.
LONGEST_KEY = 200
LONGEST_HOURS = 365 * 24
NO_EMAIL = ".invalid"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: shown once, and kept nowhere."""

    key_id: int
    username: str
    prefix: str
    expires_at: datetime
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that is not in the database yet."""

    key: str = field(repr=False)

    @property
    def prefix(self) -> str:
        return self.key[:PREFIX]

    @property
    def hashed(self) -> str:
        return hash_of(self.key)


def draw() -> Secret:
    """64 bytes that nobody can foresee, as text that is safe in a URL."""
    return Secret(secrets.token_urlsafe(KEY_BYTES))


def hash_of(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def principal_of(conn: Connection, key: str) -> Principal | None:
    """Whom a key lets in; None where it is none of ours, has ended, or its owner is not active.

    In a transaction of its own: it notes the use of the key, at most once a minute.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        return None
    found = ask(conn, SQL["principal_of_key"], key_hash=hash_of(key))
    return principal_in(found[0]) if found else None


def principal_in(row: Row) -> Principal:
    """The principal of a row with a key."""
    return Principal(
        username=row["username"],
        role=Role(row["role"]),
        proof=Proof.KEY,
        account_id=row["account_id"],
        email=email_in(row),
        key_id=row["key_id"],
        expires_at=row["expires_at"],
    )


def email_in(row: Row) -> str | None:
    """The e-mail of an account; None for one that has none, whose row has to have a text."""
    email = row["email"]
    return None if email is None or email.endswith(NO_EMAIL) else str(email)


def make(  # noqa: PLR0913  # one for each of what a key has
    conn: Connection,
    username: str,
    *,
    hours: float,
    description: str = "",
    most_hours: float = LONGEST_HOURS,
    new_name: bool = False,
    secret: Secret | None = None,
) -> NewKey:
    """Make a key for a name: one's own, or any where an ADMIN or the owner asks. `new_name` lets it make the name, too.

    Whoever has to note its prefix first draws the secret.
    PF008: nobody has the name. PF013: not allowed, or not active.

    Raises:
        Refusal: it would last for longer than `most_hours`, or not at all.
    """
    if not 1 / 3600 <= hours <= most_hours:
        raise Refusal(f"A key lasts for 1 second to {most_hours:g} hours, not for {hours:g} hours.")
    secret = secret or draw()
    (row,) = ask(
        conn,
        SQL["make_key"],
        username=plain("username", username),
        key_hash=secret.hashed,
        key_prefix=secret.prefix,
        life_s=hours * 3600,
        description=plain("description", description),
        may_make_name=new_name,
    )
    return NewKey(row["key_id"], username, secret.prefix, row["expires_at"], secret.key)


def listing(conn: Connection, username: str | None = None, *, before: int | None = None, most: int = 200) -> list[Row]:
    """Keys of a name, or of everybody (an ADMIN, the owner), the newest first; without what opens anything."""
    return ask(conn, SQL["keys"], username=username and plain("username", username), before=before, most=most)


def revoke(conn: Connection, which: str) -> Row:
    """End an active key, by its number or at least 4 of its first letters: its number, username and prefix.

    PF008: there is no such key, or it is somebody else's.
    """
    return ask(conn, SQL["revoke_key"], which=plain("key", which))[0]
