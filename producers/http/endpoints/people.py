"""`/v1/keys` and `/v1/users`: who is let in, and by what."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError, Shape
from pgfleet.producers.http.shapes.people import Account, Key, MadeKey
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.asking import Whose
from pgfleet.schema.identity import accounts, keys, passwords
from pgfleet.schema.messages import ONE_LINE, Name

KEYS, USERS = "/v1/keys", "/v1/users"
DEFAULT_HOURS = 2.0
Role = Literal["USER", "DEVOPS", "ADMIN"]
Number = Annotated[int, Field(ge=1, lt=2**31)]
# As the database takes them (is_email, is_username of 164); a name without a letter is a node's.
EMAIL = r"^[!-?A-~]{1,64}@[A-Za-z0-9.-]+$"
NO_EMAIL = r"\.[Ii][Nn][Vv][Aa][Ll][Ii][Dd]$"
USERNAME = r"^[A-Za-z0-9_][A-Za-z0-9_.@|+-]{0,254}$"
Email = Annotated[Name, Field(json_schema_extra={"pattern": EMAIL, "not": {"pattern": NO_EMAIL}})]
Username = Annotated[Name, Field(json_schema_extra={"pattern": USERNAME, "not": {"pattern": "^[^A-Za-z]*$"}})]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class NewKey(Shape):
    hours: Annotated[float, Field(gt=0, le=keys.LONGEST_HOURS, allow_inf_nan=False)] = DEFAULT_HOURS
    description: Annotated[str, StringConstraints(max_length=200), ONE_LINE] = ""
    username: Name | None = None


class KeyFilter(Shape):
    username: Name | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Number | None = None


# Without a name, the e-mail is it.
NAMED: JsonDict = {
    "if": {"required": ["username"], "properties": {"username": {"type": "string"}}},
    "else": {"properties": {"email": {"pattern": USERNAME, "not": {"pattern": "^[^A-Za-z]*$"}}}},
}


class NewAccount(Shape):
    model_config = ConfigDict(json_schema_extra=NAMED)

    email: Email
    full_name: Name | None = None
    role: Role = "USER"
    username: Username | None = None
    password: Password | None = None


class AccountFilter(Shape):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Number | None = None


class AccountChange(Shape):
    """Each of what is given is changed."""

    role: Role | None = None
    is_active: bool | None = None
    password: Password | None = None
    username: Username | None = None


def create_key(call: Call) -> Answer:
    asked = call.given(NewKey)
    user = asked.username or call.principal.username
    made = keys.make(call.conn, user, hours=asked.hours, description=asked.description)
    body = {"key_id": made.key_id, "username": user, "key_prefix": made.prefix, "expires_at": made.expires_at}
    return Answer({**body, "key": made.key}, about=str(made.key_id), name=made.prefix)


def list_keys(call: Call) -> Answer:
    asked = call.asked(KeyFilter)
    user = asked.username or (None if call.whose == Whose.ANY else call.principal.username)
    rows = keys.listing(call.conn, user, before=asked.cursor, most=asked.limit)
    return _page(rows, asked.limit, "key_id")


def revoke_key(call: Call) -> Answer:
    row = keys.revoke(call.conn, call.path["key"])
    return Answer(status=204, about=str(row["key_id"]), name=row["key_prefix"])


def create_user(call: Call) -> Answer:
    asked = call.given(NewAccount)
    made = accounts.add(
        call.conn,
        asked.email,
        full_name=asked.full_name,
        role=asked.role,
        username=asked.username,
        password_hash=None if asked.password is None else passwords.hash_of(asked.password),
    )
    return Answer(_account(call, str(made)), about=str(made), name=asked.email)


def list_users(call: Call) -> Answer:
    asked = call.asked(AccountFilter)
    return _page(accounts.listing(call.conn, after=asked.cursor, most=asked.limit), asked.limit, "id")


def get_user(call: Call) -> Answer:
    return Answer(_account(call, call.path["id"]))


def change_user(call: Call) -> Answer:
    asked, which = call.given(AccountChange), call.path["id"]
    if asked.role is not None:
        accounts.set_role(call.conn, which, asked.role)
    if asked.is_active is not None:
        accounts.set_active(call.conn, which, active=asked.is_active)
    if asked.password is not None:
        accounts.set_password(call.conn, which, passwords.hash_of(asked.password))
    if asked.username is not None:
        accounts.bind(call.conn, which, asked.username)
    row = _account(call, which)
    return Answer(row, about=str(row["id"]), name=row["email"])


def unlock_user(call: Call) -> Answer:
    accounts.unlock(call.conn, call.path["id"])
    return Answer(status=204, about=call.path["id"])


def _account(call: Call, which: str) -> Any:
    found = accounts.listing(call.conn, which, most=1)
    if not found:
        raise NotFoundError(f"there is no account {which[:60]}")
    return found[0]


def _page(rows: list[Any], limit: int, key: str) -> Answer:
    return Answer({"items": rows, "next": str(rows[-1][key]) if len(rows) == limit else None})


def _audit(done: str, resource: str) -> Audit:
    return Audit(f"{resource.upper()}_{done}", "AUTH" if resource == "key" else "USER", resource)


ONE_USER = f"{USERS}/{{id}}"
ENDPOINTS = (
    Endpoint(
        "POST",
        KEYS,
        "Make a key: for yourself, or as an administrator for anybody. It is shown this once",
        "keys.write",
        create_key,
        MadeKey,
        NewKey,
        status=201,
        audit=_audit("CREATED", "key"),
        lost="Revoke it (DELETE /v1/keys/{id}) and make another, with another Idempotency-Key.",
        refuses=(404,),
        example={"hours": 2, "description": "laptop"},
    ),
    Endpoint("GET", KEYS, "Keys, the newest first", "keys.read", list_keys, Page[Key], asks=KeyFilter),
    Endpoint(
        "DELETE",
        f"{KEYS}/{{key}}",
        "Revoke a key, by its number or the beginning of it",
        "keys.write",
        revoke_key,
        status=204,
        audit=_audit("REVOKED", "key"),
        refuses=(404,),
    ),
    Endpoint(
        "POST",
        USERS,
        "Make an account",
        "users.write",
        create_user,
        Account,
        NewAccount,
        status=201,
        audit=_audit("CREATED", "user"),
        example={"email": "ada@example.org", "role": "USER", "username": "ada"},
    ),
    Endpoint("GET", USERS, "Accounts", "users.read", list_users, Page[Account], asks=AccountFilter),
    Endpoint("GET", ONE_USER, "One account, by its number or e-mail", "users.read", get_user, Account, refuses=(404,)),
    Endpoint(
        "PATCH",
        ONE_USER,
        "Change an account: its role, password or name, or whether it is let in",
        "users.write",
        change_user,
        Account,
        AccountChange,
        audit=_audit("UPDATED", "user"),
        refuses=(404,),
        example={"role": "DEVOPS"},
    ),
    Endpoint(
        "POST",
        f"{ONE_USER}/unlock",
        "Forget the wrong passwords for an account",
        "users.write",
        unlock_user,
        status=204,
        audit=_audit("UNLOCKED", "user"),
        refuses=(404,),
    ),
)
