"""Subscriptions to events: whose, where to, of what, and whether what is sent arrives."""

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.subscriptions.filtering import events_told, what
from pgfleet.producers.http.endpoints.subscriptions import SubscriptionFilter, list_subscriptions
from pgfleet.schema.event import Format, Status
from pgfleet.schema.rows.row import Row

FIRST = (
    "There are none yet. Make one above, and pgfleet tells your chat, or a program of yours, before a reservation ends,"
    " when it fails, and of whatever else moves."
)
FORMATS = {
    Format.CLOUDEVENTS: "CloudEvents, for a program",
    Format.SLACK: "Slack",
    Format.TEAMS: "Teams",
}


def subscriptions(view: View) -> Screen:
    asked = view.call.asked(SubscriptionFilter)
    found = list_subscriptions(view.call).body
    sees_all = view.sees_all("subscriptions.read")
    ask = filters(
        view.address,
        choice("status", "State", list(Status), asked.status),
        sees_all and words("user_id", "User", asked.user_id),
    )
    return Screen(
        "Subscriptions",
        [
            Part("add", h.div(".actions")[_add(view)], is_live=False),
            Part("ask", ask, is_live=False),
            Part("list", _list(view, found["items"], sees_all=sees_all, is_filtered=asked != SubscriptionFilter())),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def _add(view: View) -> h.Node:
    act = Act(
        "create_subscription",
        "Make a subscription",
        token("create_subscription", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label[
                "Address",
                h.input(
                    name="url", type="url", required=True, maxlength="2000", placeholder="https://example.org/hook"
                ),
            ],
            h.label[
                "As", h.select(name="format")[(h.option(value=each.value)[text] for each, text in FORMATS.items())]
            ],
            what(),
            h.label["Of one row alone: its id", h.input(name="row_id", maxlength="255")],
            view.sees_all("subscriptions.write")
            and h.label["Of one user's rows alone", h.input(name="of_user", maxlength="255")],
            h.p(".dim")["What is sent is signed: the secret for that is shown once, on the next page."],
        ],
        back="/subscriptions",
    )
    return button(view, act)


def _list(view: View, rows: list[Row], *, sees_all: bool, is_filtered: bool) -> h.Node:
    columns = [
        Column("To", lambda row: h.a(href=f"/subscriptions/{row['subscription_id']}")[row["shown_url"]]),
        *([Column("User", lambda row: row["user_id"])] if sees_all else []),
        Column("State", lambda row: state(row["status"])),
        Column("Events", events_told),
        Column("Last delivered", lambda row: when(row["last_delivered_at"], view.now, "never")),
        Column("Deliveries", lambda row: number(row["deliveries"]), is_number=True),
        Column("Answer", lambda row: row["last_answer"] or row["detail"] or row["status_reason"]),
    ]
    empty = ["None fits this filter. ", h.a(href=view.address)["Show all"]] if is_filtered else FIRST
    return table(columns, rows, empty, "Subscriptions")


PAGES = (
    Page(
        "/subscriptions",
        "Subscriptions",
        "subscriptions.read",
        subscriptions,
        menu=75,
        asks=SubscriptionFilter,
        machines=frozenset({"subscription"}),
    ),
)
