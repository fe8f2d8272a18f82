"""Accounts of people, as operators and the API's ADMINs change them. One is named by its number or its e-mail.

Errors of the database: PF004 a value that can't be, PF008 no such account, PF013 not allowed, and unique_violation.
"""

from pgfleet.schema.identity.keys import SQL
from pgfleet.schema.identity.texts import plain
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask
from pgfleet.schema.rows.row import Row


def add(  # noqa: PLR0913  # one for each of what an account has
    conn: Connection,
    email: str,
    *,
    full_name: str | None = None,
    role: str | None = None,
    username: str | None = None,
    password_hash: str | None = None,
) -> int:
    """Make a local account and its name (the e-mail, unless another is given); its number."""
    (row,) = ask(
        conn,
        SQL["make_account"],
        email=plain("email", email),
        full_name=full_name and plain("name", full_name),
        role=role and plain("role", role),
        username=username and plain("username", username),
        password_hash=password_hash,
    )
    return int(row["id"])


def set_role(conn: Connection, account: str, role: str) -> None:
    """Give it a role, which stays whatever its issuer says. The last active ADMIN stays one."""
    ask(conn, SQL["set_role"], account=plain("account", account), role=plain("role", role))


def set_active(conn: Connection, account: str, *, active: bool) -> None:
    """Let it in, or no more, whatever its proof. The last active ADMIN stays."""
    ask(conn, SQL["set_active"], account=plain("account", account), active=active)


def set_password(conn: Connection, account: str, password_hash: str) -> None:
    """Give a local account another password (`passwords.hash_of`): an ADMIN any, all their own. Sessions end."""
    ask(conn, SQL["set_password"], account=plain("account", account), password_hash=password_hash)


def unlock(conn: Connection, account: str) -> int:
    """Forget the wrong passwords for it; from how many addresses there were any."""
    return int(ask(conn, SQL["unlock"], account=plain("account", account))[0]["addresses"])


def bind(conn: Connection, account: str, username: str) -> int:
    """Bind a name to it, though rows or logins use it; how many keys ended, of its name of before and of this one."""
    (row,) = ask(conn, SQL["bind"], account=plain("account", account), username=plain("username", username))
    return int(row["ended"])


def listing(conn: Connection, account: str | None = None, *, after: int | None = None, most: int = 200) -> list[Row]:
    """One account, or those after a number. DEVOPS and ADMIN see them."""
    return ask(conn, SQL["accounts"], account=account and plain("account", account), after=after, most=most)
