"""One dead letter: why it died, what was in it, what it is about, and how it is answered."""

import json
from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.words import number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.letters.listing import verdict
from pgfleet.console.web.pages.letters.subject import subjects
from pgfleet.producers.http.endpoints.letters import get_dead_letter
from pgfleet.schema.kinds import queues

WHOSE = {
    "failure": "It failed by our fault: replay it once what it names is put right.",
    "rejection": "Its sender made a mistake: sent again as it is, it will most likely be refused again.",
}
Known = dict[str, Any]


def dead_letter(view: View) -> Screen:
    row = get_dead_letter(view.having("dead-letters.read")).body
    return Screen(
        f"Dead letter {row['dead_letter_id']}",
        [
            Part("state", _state(view, row)),
            Part("actions", _actions(view, row), is_live=False),
            Part("facts", _facts(view, row)),
            Part("message", _message(row)),
        ],
    )


def _state(view: View, row: Known) -> h.Node:
    return [
        h.p(".lead")[
            verdict(row), " of ", queues().get(row["queue"], row["queue"]), " ", when(row["died_at"], view.now)
        ],
        h.p(".what.trouble")[row["reason"]],
        h.p[f"{row['answer'].capitalize()} by {row['answered_by']} ", when(row["answered_at"], view.now), "."]
        if row["answered_at"]
        else h.p(".dim")[WHOSE[row["verdict"]]],
    ]


def _actions(view: View, row: Known) -> h.Node:
    if row["answered_at"] is not None:
        return None
    path = {"id": str(row["dead_letter_id"])}

    def act(operation: str, label: str, consequence: str, **more: Any) -> h.Node:
        once = token(operation, row["dead_letter_id"])
        return button(view, Act(operation, label, once, path, consequence=consequence, takes_reason=True, **more))

    return h.div(".actions")[
        act("replay_dead_letter", "Replay", "It is sent again; what failed with it goes back to its line."),
        act(
            "discard_dead_letter",
            "Discard",
            "It is answered for good: it is not sent again, and what failed with it stays failed.",
            is_danger=True,
        ),
    ]


def _facts(view: View, row: Known) -> h.Node:
    facts: list[tuple[str, h.Node]] = [
        ("About", subjects(view.call.conn, [row]).link(row)),
        ("Its id", row["row_id"] and h.code[row["row_id"]]),
        ("Queue", row["queue"]),
        ("Message", h.code[str(row["msg_id"])]),
        ("Sent by", row["asked_by"] and f"{row['asked_by']} ({row['asked_role']})"),
        ("Sent", when(row["enqueued_at"], view.now)),
        ("Died", when(row["died_at"], view.now)),
        ("Failed attempts", number(row["attempts"])),
    ]
    return [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]


def _message(row: Known) -> h.Node:
    if row["message"] is None:
        return [h.h2["Message"], h.p(".empty")["It is too large to be shown, or was none."]]
    text = json.dumps(row["message"], indent=2, ensure_ascii=False, sort_keys=True)
    return [
        h.h2["Message"],
        h.p(".dim")["As it was sent; secrets, and values of fields that its queue does not know, are not shown."],
        h.pre(".logs", tabindex="0", role="region", aria_label="Message")[text],
    ]


PAGES = (
    Page(
        "/dead-letters/{id}",
        "Dead letter",
        "dead-letters.read",
        dead_letter,
        machines=frozenset({"dead_letter"}),
        row="id",
    ),
)
