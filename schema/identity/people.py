"""People with a token of an issuer: who one is, by what the token says once it is verified."""

from dataclasses import dataclass
from datetime import datetime

from pgfleet.schema.asking import Role
from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity.keys import SQL, email_in
from pgfleet.schema.identity.principal import Principal, Proof
from pgfleet.schema.identity.texts import plain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask


class NotLetIn(Refusal):
    """A proof is good, and its owner is not let in all the same; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says whose signature, issuer, audience and times are verified."""

    issuer: str
    subject: str
    username: str  # of the configured claim
    email: str | None = None
    email_verified: bool = False
    full_name: str | None = None
    role: str | None = None  # None where no claim is configured for it; where one is and the token has none: USER
    expires_at: datetime | None = None


def principal_of(conn: Connection, token: Verified, link_issuer: str | None = None) -> Principal:
    """Who a token is about; an account and a name are made at its first sight.

    `link_issuer` is the one issuer whose verified e-mails lead to accounts that were there before.
    In a transaction of its own, that is committed though it is refused: an ADMIN binds a name to the account.

    Raises:
        NotLetIn: the name in it is not theirs to take. PF013 of the database says that the account is not active.
    """
    (row,) = ask(
        conn,
        SQL["principal_of_subject"],
        issuer=plain("iss", token.issuer),
        subject=plain("sub", token.subject),
        email=token.email and plain("email", token.email),
        email_verified=token.email_verified,
        username=plain("username", token.username),
        full_name=token.full_name and plain("name", token.full_name),
        role=token.role and plain("role", token.role),
        link_issuer=link_issuer,
    )
    if row["username"] is None:
        raise NotLetIn(row["refused"])
    return Principal(
        username=row["username"],
        role=Role(row["role"]),
        proof=Proof.OIDC,
        account_id=row["account_id"],
        email=email_in(row),
        expires_at=token.expires_at,
    )
