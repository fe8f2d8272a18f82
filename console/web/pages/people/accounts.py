"""Accounts: who is let in, in which role, and what an ADMIN changes of one."""

from typing import Any
from urllib.parse import quote

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.tables import Column, filters, table, turning, words
from pgfleet.console.web.look.words import state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.people.keys import key_table
from pgfleet.producers.http.endpoints.people import AccountFilter, get_user
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.messages import Name
from pgfleet.schema.rows.row import Row

ROLES = {
    "USER": "sees and changes only what is their own",
    "DEVOPS": "sees everybody's, and acts on every reservation, disk, node, cluster, queue and dead letter",
    "ADMIN": "does all that, and changes users, roles, keys and Hopsworks clusters: your role, too",
}
MOST_KEYS = 20


class Found(AccountFilter):
    """`which`: one account, by its number or its whole e-mail."""

    which: Name | None = None


def users(view: View) -> Screen:
    asked = view.call.asked(Found)
    rows = accounts.listing(view.call.conn, asked.which, after=asked.cursor, most=asked.limit)
    following = str(rows[-1]["id"]) if len(rows) == asked.limit else None
    columns = [
        Column("Account", lambda row: h.a(href=f"/users/{row['id']}")[row["email"]]),
        Column("Name", lambda row: row["username"] or h.span(".dim")["none"]),
        Column("Role", _role),
        Column("State", _state),
        Column("Proves it by", proofs),
        Column("Made", lambda row: when(row["created_at"], view.now)),
    ]
    empty = ["There is no such account. ", h.a(href=view.address)["Show all"]]
    return Screen(
        "Users",
        [
            Part(
                "also",
                h.p(".also")[
                    to_page("/keys", "API keys"), to_page("/policies", "Policies"), to_page("/audit", "Audit")
                ],
            ),
            Part("add", h.div(".actions")[_add(view)], is_live=False),
            Part("ask", filters(view.address, words("which", "E-mail, or number", asked.which)), is_live=False),
            Part("list", table(columns, rows, empty, "Accounts")),
            Part("pages", turning(view.address, asked, following)),
        ],
    )


def _role(row: Row) -> h.Node:
    return [
        h.strong[row["role"]],
        row["role_override"] and h.span(".dim", title="whatever the issuer says")[" set here"],
    ]


def _state(row: Row) -> h.Node:
    return state("active" if row["is_active"] else "suspended")


def proofs(row: Row) -> h.Node:
    known = [*(["password"] if row["has_password"] else []), *row["issuers"]]
    return ", ".join(known) or h.span(".dim")["keys alone"]


def _add(view: View) -> h.Node:
    act = Act(
        "create_user",
        "Add a user",
        token("create_user", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label["E-mail", h.input(name="email", type="email", required=True, maxlength="255")],
            h.label["Name of the login", h.input(name="username", maxlength="255", placeholder="the e-mail")],
            h.label["Full name", h.input(name="full_name", maxlength="255")],
            h.label["Role", h.select(name="role")[(h.option[role] for role in ROLES)]],
            h.label[
                "Password", h.input(name="password", type="password", maxlength="1000", autocomplete="new-password")
            ],
            h.ul(".dim")[(h.li[f"{role} {may}"] for role, may in ROLES.items())],
            h.p(".dim")["Without a password they sign in at the issuer, or by a key that you make for them."],
        ],
        back="/users",
        done="Made.",
    )
    return button(view, act)


def user(view: View) -> Screen:
    row = get_user(view.call).body
    facts = [
        ("Role", _role(row)),
        ("State", _state(row)),
        ("Name of the login", row["username"] or "none"),
        ("Full name", row["full_name"]),
        ("Proves it by", proofs(row)),
        ("Made", when(row["created_at"], view.now)),
        ("Number", str(row["id"])),
    ]
    return Screen(
        row["email"],
        [
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]),
            Part("also", _also(row)),
            Part("roles", _roles(view, row), is_live=False),
            Part("act", h.div(".actions")[_acts(view, row)], is_live=False),
            Part("keys", _keys(view, row), is_live=False),
        ],
    )


def _also(row: Row) -> h.Node:
    name = quote(row["username"] or "", safe="")
    email = quote(row["email"], safe="")
    return h.p(".also")[
        to_page("/audit", "What they did", f"who={email}"),
        name and to_page("/reservations", "Their reservations", f"user_id={name}"),
        name and to_page("/usage", "What they used", f"user_id={name}"),
        name and to_page("/policies", "What they may have", f"user_id={name}"),
    ]


def _act(view: View, row: Row, operation: str, label: str, **more: Any) -> h.Node:
    seen = (row["id"], row["role"], row["is_active"], row["username"], row["has_password"])
    return button(view, Act(operation, label, token(operation, label, *seen), {"id": str(row["id"])}, **more))


def _roles(view: View, row: Row) -> h.Node:
    def change(role: str) -> h.Node:
        return _act(
            view,
            row,
            "change_user",
            f"Make {role}",
            fields=h.input(type="hidden", name="role", value=role),
            consequence=f"From now on {row['email']} {ROLES[role]}. It stays so, whatever their issuer says.",
            takes_reason=True,
            is_danger=role == "ADMIN",
            done=f"{row['email']} is {role}.",
        )

    return [
        h.h2["Role"],
        h.p[h.strong[row["role"]], f": {ROLES.get(row['role'], '')}."],
        h.div(".actions")[(change(role) for role in ROLES if role != row["role"])],
    ]


def _acts(view: View, row: Row) -> h.Node:
    is_on = row["is_active"]
    return [
        _act(
            view,
            row,
            "change_user",
            "Let in no more" if is_on else "Let in again",
            fields=h.input(type="hidden", name="is_active", value="off" if is_on else "on"),
            consequence="Keys, password and issuer let them in no more, from now on. What they have running goes on."
            if is_on
            else None,
            takes_reason=True,
            is_danger=is_on,
            done=f"{row['email']} is let in {'no more' if is_on else 'again'}.",
        ),
        _act(
            view,
            row,
            "unlock_user",
            "Unlock",
            consequence="Wrong passwords of before are forgotten: the next one is checked without delay.",
            done="Unlocked.",
        ),
        _act(
            view,
            row,
            "change_user",
            "Set a password",
            fields=h.label[
                "New password",
                h.input(name="password", type="password", required=True, maxlength="1000", autocomplete="new-password"),
            ],
            consequence="Their sessions end.",
            done="Set.",
        ),
        _act(
            view,
            row,
            "change_user",
            "Bind a name",
            fields=h.label["Name of the login", h.input(name="username", required=True, maxlength="255")],
            consequence="What belongs to that name is theirs from then on, and keys of both names end.",
            takes_reason=True,
            is_danger=True,
            done="Bound.",
        ),
    ]


def _keys(view: View, row: Row) -> h.Node:
    if not row["username"]:
        return None
    rows = keys.listing(view.call.conn, row["username"], most=MOST_KEYS)
    more = (
        len(rows) == MOST_KEYS and h.p[h.a(href=f"/keys?username={quote(row['username'], safe='')}")["All their keys"]]
    )
    return [h.h2["Keys"], key_table(view, rows, "They have none.", view.address, has_users=False), more]


PAGES = (
    Page("/users", "Users", "users.read", users, menu=90, asks=Found),
    Page("/users/{id}", "User", "users.read", user),
)
