"""API keys: one's own, and everybody's for an ADMIN; made, shown once, and revoked."""

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.tables import Column, filters, table, turning, words
from pgfleet.console.web.look.words import state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.people import KeyFilter, list_keys
from pgfleet.schema.identity.keys import LONGEST_HOURS
from pgfleet.schema.rows.row import Row

LIVES = (("2", "2 hours"), ("24", "a day"), ("168", "a week"), ("720", "30 days"), (str(LONGEST_HOURS), "a year"))
FIRST = "There are none yet. Make one above: programs, and pgfleet on your own machine, show who they are by it."


def api_keys(view: View) -> Screen:
    asked = view.call.asked(KeyFilter)
    found = list_keys(view.call).body
    sees_all = view.sees_all("keys.read")
    is_filtered = asked != KeyFilter()
    empty = ["None fits this filter. ", h.a(href=view.address)["Show all"]] if is_filtered else FIRST
    ask = sees_all and filters(view.address, words("username", "User", asked.username))
    return Screen(
        "API keys",
        [
            Part("add", h.div(".actions")[make(view, view.address)], is_live=False),
            Part("ask", ask, is_live=False),
            Part("list", key_table(view, found["items"], empty, view.address, has_users=sees_all)),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def make(view: View, back: str) -> h.Node:
    """The way to another key; an ADMIN may make one for somebody else."""
    act = Act(
        "create_key",
        "Make a key",
        token("create_key", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label["What it is for", h.input(name="description", maxlength="200", placeholder="laptop")],
            h.label["It ends after", h.select(name="hours")[(h.option(value=hours)[text] for hours, text in LIVES)]],
            view.sees_all("keys.write")
            and h.label["For", h.input(name="username", maxlength="255", placeholder=f"{view.username} (you)")],
            h.p(".dim")["It is shown once. Whoever has it may do what its owner may."],
        ],
        back=back,
    )
    return button(view, act)


def key_table(view: View, rows: list[Row], empty: h.Node, back: str, *, has_users: bool) -> h.Node:
    columns = [
        Column("Key", lambda row: h.code[f"{row['key_prefix']}…"]),
        *([Column("User", lambda row: row["username"])] if has_users else []),
        Column(
            "For", lambda row: h.span(".dim")["a session of this site"] if row["is_session"] else row["description"]
        ),
        Column("State", lambda row: state(_state(view, row))),
        Column("Made", lambda row: when(row["created_at"], view.now)),
        Column("Ends", lambda row: when(row["expires_at"], view.now, "never")),
        Column("Last used", lambda row: when(row["last_used_at"], view.now, "never")),
        Column("", lambda row: _revoke(view, row, back)),
    ]
    return table(columns, rows, empty, "API keys")


def _state(view: View, row: Row) -> str:
    if not row["is_active"]:
        return "revoked"
    return "expired" if row["expires_at"] and row["expires_at"] <= view.now else "active"


def _revoke(view: View, row: Row, back: str) -> h.Node:
    if _state(view, row) != "active":
        return None
    what = "Whoever is signed in by it is out at once." if row["is_session"] else "Whatever uses it is refused at once."
    act = Act(
        "revoke_key",
        "Revoke",
        token("revoke_key", row["key_id"]),
        {"key": str(row["key_id"])},
        consequence=f"{what} This can't be undone.",
        is_danger=True,
        back=back,
        done=f"{row['key_prefix']}… is revoked.",
    )
    return button(view, act)


PAGES = (Page("/keys", "API keys", "keys.read", api_keys, asks=KeyFilter, is_own=True, under="/users"),)
