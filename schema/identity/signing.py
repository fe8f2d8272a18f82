"""Signing in with e-mail and password: wrong ones slow down that account from that address, and nobody else."""

from dataclasses import dataclass, field
from math import ceil

from pgfleet.schema.errors import Refusal
from pgfleet.schema.identity import passwords
from pgfleet.schema.identity.audit import Noted, note
from pgfleet.schema.identity.keys import SQL, NewKey, draw, principal_in
from pgfleet.schema.identity.principal import Principal
from pgfleet.schema.identity.speaking import Origin, speaking_for
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask

LONGEST_EMAIL = 255


class TooSoon(Refusal):
    """Too many wrong passwords: the next one is looked at after a pause."""

    def __init__(self, after_s: int) -> None:
        super().__init__(f"Too many wrong passwords from your address. Try again in {after_s} s.")
        self.after_s = after_s


class WrongPassword(Refusal):
    """The e-mail or the password is wrong: which of them is not told."""

    def __init__(self) -> None:
        super().__init__("The e-mail or the password is wrong.")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who wants to sign in; counted as a failure until `let_in`."""

    account_id: int | None
    hashed: str | None = field(repr=False)
    address: str

    def check(self, password: str) -> None:
        """Compare, which takes a quarter of a second, and needs no connection.

        Raises:
            WrongPassword: it is not the account's, or there is no such account, or it is not active.
        """
        if not passwords.is_right(password, self.hashed):
            raise WrongPassword


def begin(conn: Connection, email: str, origin: Origin) -> Attempt:
    """Look up what to compare a password with; in a transaction of its own, which has to be committed.

    Raises:
        TooSoon: nothing is compared until the pause is over.
    """
    address = origin.address or ""
    wanted = "".join(letter for letter in email.strip() if letter.isprintable())[:LONGEST_EMAIL]
    (row,) = ask(conn, SQL["password_of"], email=wanted, address=address)
    if row["wait_s"] > 0:
        raise TooSoon(ceil(row["wait_s"]))
    return Attempt(row["account_id"], row["hash"], address)


def let_in(conn: Connection, attempt: Attempt, origin: Origin, *, hours: float) -> tuple[Principal, NewKey]:
    """After `check`: the session, which is a key, noted in the audit.

    PF013: the account was changed meanwhile, or has no name.
    """
    secret = draw()
    with conn.transaction():
        (row,) = ask(
            conn,
            SQL["signed_in"],
            account_id=attempt.account_id,
            checked_hash=attempt.hashed,
            address=attempt.address,
            key_hash=secret.hashed,
            key_prefix=secret.prefix,
            life_s=hours * 3600,
        )
        principal = principal_in(row)
        with speaking_for(conn, principal, origin):
            note(conn, Noted("SIGNED_IN", "AUTH", "key", str(row["key_id"]), secret.prefix, "with a password"))
    return principal, NewKey(row["key_id"], principal.username, secret.prefix, row["expires_at"], secret.key)
