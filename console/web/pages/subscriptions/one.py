"""One subscription: up to where it was delivered, what was answered, and what may be asked of it."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.tables import Column, table, turning
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.subscriptions.filtering import events_told
from pgfleet.producers.http.endpoints.subscriptions import get_subscription, list_deliveries
from pgfleet.producers.http.paging import Listing
from pgfleet.schema.event import LIVE, Status
from pgfleet.schema.rows.row import Row


def subscription(view: View) -> Screen:
    row = get_subscription(view.call).body
    found = list_deliveries(view.call).body
    facts = [
        ("State", [state(row["status"]), " ", h.span(".dim")["since ", when(row["status_since"], view.now)]]),
        ("Why", row["detail"] or row["status_reason"]),
        ("Events", events_told(row)),
        ("As", row["format"]),
        ("User", row["user_id"]),
        ("Last delivered", when(row["last_delivered_at"], view.now, "never")),
        ("Last answer", row["last_answer"]),
        ("Failing since", row["failing_since"] and when(row["failing_since"], view.now)),
        ("Tried again", row["next_try_at"] and when(row["next_try_at"], view.now)),
        ("Delivered up to", h.code[row["delivered_to"]]),
        ("Made", when(row["created_at"], view.now)),
    ]
    return Screen(
        row["shown_url"],
        [
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]),
            Part("act", _acts(view, row)),
            Part("deliveries", _deliveries(view, row, found["items"])),
            Part("pages", turning(view.address, view.call.asked(Listing), found["next"])),
        ],
    )


def _act(view: View, row: Row, operation: str, label: str, **more: Any) -> h.Node:
    seen = (row["subscription_id"], row["status"], row["status_since"], more.pop("about", None))
    path = {"id": row["subscription_id"]}
    return button(view, Act(operation, label, token(operation, *seen), path, back=view.address, **more))


def _acts(view: View, row: Row) -> h.Node:
    is_live = Status(row["status"]) in LIVE
    return h.div(".actions")[
        is_live
        and _act(
            view,
            row,
            "send_test_event",
            "Send a test",
            about=row["deliveries"],
            done="A test event is on its way: see its answer below.",
        ),
        row["status"] == Status.OFF
        and _act(
            view,
            row,
            "resume_subscription",
            "Resume",
            consequence="It goes on where it was: all events since then are sent, the oldest first.",
            done="It goes on.",
        ),
        row["status"] != Status.OFF
        and _act(
            view,
            row,
            "end_subscription",
            "End",
            consequence="Nothing more is sent. Resume goes on from where it was.",
            is_danger=True,
            done="Nothing more is sent.",
        ),
    ]


def _deliveries(view: View, row: Row, rows: list[Row]) -> h.Node:
    columns = [
        Column("Number", lambda each: number(each["number"]), is_number=True),
        Column("Result", lambda each: state(each["result"])),
        Column("Events", lambda each: number(each["events"]), is_number=True),
        Column("Tries", lambda each: number(each["tries"]), is_number=True),
        Column("Answer", lambda each: each["answer"]),
        Column("Begun", lambda each: when(each["begun_at"], view.now)),
        Column("Ended", lambda each: _ended(view, each)),
        Column("", lambda each: _again(view, row, each)),
    ]
    return [h.h2["Deliveries"], table(columns, rows, "Nothing was sent yet: send a test.", "Deliveries")]


def _ended(view: View, each: Row) -> h.Node:
    if each["ended_at"]:
        return when(each["ended_at"], view.now)
    return [h.span(".dim")["tried again "], when(each["next_try_at"], view.now, "when it is its turn")]


def _again(view: View, row: Row, each: Row) -> h.Node:
    """From before this delivery on; what is under way is not asked for again."""
    dead = each["dead_letter_id"] and to_page("/dead-letters", "its dead letter")
    if each["ended_at"] is None or Status(row["status"]) not in LIVE:
        return dead
    again = _act(
        view,
        row,
        "send_events_again",
        "Send again",
        about=each["number"],
        fields=h.input(type="hidden", name="after", value=each["after"]),
        consequence="This delivery, and all after it, are sent once more: the receiver gets events that it has.",
        done="They are sent once more.",
    )
    return [again, dead]


PAGES = (
    Page(
        "/subscriptions/{id}",
        "Subscription",
        "subscriptions.read",
        subscription,
        asks=Listing,
        machines=frozenset({"subscription"}),
        row="id",
        every_s=5,
    ),
)
