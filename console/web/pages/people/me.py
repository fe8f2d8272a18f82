"""Who one is: how that was proven, the role, the keys, what one may have and has."""

import htpy as h

from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.pictures.bars import bar
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.hopsworks.users import address_of
from pgfleet.console.web.pages.people.accounts import ROLES
from pgfleet.console.web.pages.people.keys import FIRST, key_table, make
from pgfleet.producers.http.endpoints.me import get_me
from pgfleet.schema.identity import keys
from pgfleet.schema.policy.book import limits_of
from pgfleet.schema.reads import assignment
from pgfleet.schema.rows.row import Row

MOST_KEYS = 20
PROOFS = {"KEY": "an API key", "OIDC": "an issuer's token", "PASSWORD": "a password"}


def me(view: View) -> Screen:
    who = get_me(view.call).body
    facts = [
        ("Name", h.strong[who["username"]]),
        ("E-mail", who["email"]),
        ("Role", [h.strong[who["role"]], _may(who["role"])]),
        ("Proven by", PROOFS.get(who["proof"].upper(), who["proof"])),
        ("This session ends", when(who["expires_at"], view.now)),
        ("Hopsworks", _hopsworks(view)),
    ]
    rows = keys.listing(view.call.conn, view.username, most=MOST_KEYS)
    more = len(rows) == MOST_KEYS and h.p[h.a(href=f"/keys?username={view.username}")["All your keys"]]
    return Screen(
        "You",
        [
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]),
            Part("out", h.form(method="post", action="/sign-out")[h.button(".button")["Sign out"]], is_live=False),
            Part("limits", [h.h2["What you may have"], limits(view, view.username)]),
            Part(
                "also",
                h.p(".also")[to_page("/usage", "What you used"), to_page("/subscriptions", "Who is told of events")],
            ),
            Part(
                "keys",
                [
                    h.h2["Your keys"],
                    h.div(".actions")[make(view, view.address)],
                    key_table(view, rows, FIRST, view.address, has_users=False),
                    more,
                ],
                is_live=False,
            ),
        ],
    )


def _may(role: str) -> str:
    return f": {ROLES[role].removesuffix(': your role, too')}" if role in ROLES else ""


def _hopsworks(view: View) -> h.Node:
    if not view.may("assignments.read"):
        return None
    found = [row for each in assignment.own_users(view.call.conn) if (row := assignment.user(view.call.conn, each))]
    return [
        h.div[
            h.a(href=address_of(row["user_id"]))[row["cluster_name"] or "no cluster yet"],
            " ",
            state(row["status"] or "none"),
        ]
        for row in found
    ]


def limits(view: View, username: str) -> h.Node:
    """What applies to somebody, and how much of it is used."""
    rows = [row for row in limits_of(view.call.conn, username).values() if row["most"] is not None or row["patterns"]]
    columns = [
        Column("Limit", lambda row: row["counts"]),
        Column("Used", _used),
        Column("Most", _most),
        Column("Said for", lambda row: row["applies_to"]),
    ]
    return table(columns, rows, "Nothing is limited.", "Limits")


def _used(row: Row) -> h.Node:
    if row["used"] is None or row["most"] is None:
        return h.span(".dim")["–"]
    # What is beyond a limit is not counted to its end.
    told = number(row["used"]) if row["used"] <= row["most"] else f"more than {number(row['most'])}"
    parts = [("held", min(row["used"], row["most"]), told), ("room", max(row["most"] - row["used"], 0), "")]
    return h.span(".of-most", title=f"{told} of {number(row['most'])}")[bar(parts, told), told]


def _most(row: Row) -> str:
    return ", ".join(row["patterns"]) if row["patterns"] else number(row["most"])


PAGES = (Page("/me", "You", "me.read", me, is_own=True),)
