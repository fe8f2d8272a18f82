"""Dead letters, the newest first: filtered by the address, answered one by one or many at once."""

from collections.abc import Mapping
from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import ACTIONS, BACK, DONE, ONCE, REASON, token
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import link, number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.letters.subject import subjects
from pgfleet.producers.http.endpoints.letters import LetterFilter, list_dead_letters
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.reads.pictures.figures import MOST
from pgfleet.schema.reads.pictures.queues import open_letters
from pgfleet.schema.rows.row import Row

REPLAY, DISCARD = "replay_dead_letters", "discard_dead_letters"
REPLAYS = (
    "Each is sent again; a reservation, operation or assignment that failed with it goes back to its line. "
    "One that can't be leaves the others alone."
)
DISCARDS = "Each is answered for good: its message is not sent again, and what failed with it stays failed."


def dead_letters(view: View) -> Screen:
    asked = view.call.asked(LetterFilter)
    found = list_dead_letters(view.call).body
    return Screen(
        "Dead letters",
        [
            Part("open", _open(view)),
            Part("ask", lambda: _filters(view, asked), is_live=False),
            # Boxes that are ticked stay so.
            Part("list", _list(view, asked, found["items"]), is_live=False),
            Part("pages", turning(view.address, asked, found["next"]), is_live=False),
        ],
    )


def verdict(row: Mapping[str, Any]) -> h.Node:
    """Whose fault it is, by shape, word and colour."""
    if row["verdict"] == "failure":
        return h.span(".state.tone-bad")[h.span(".mark", aria_hidden="true")["✕"], " failure"]
    return h.span(".state.tone-waits")[h.span(".mark", aria_hidden="true")["▲"], " rejection"]


def _open(view: View) -> h.Node:
    """How many there are, and where: links to those alone."""
    rows = open_letters(view.call.conn)
    if not rows:
        return h.p(".calm")["✓ No dead letter is open."]
    return h.ul(".counts")[(h.li[_count(view, row)] for row in rows)]


def _count(view: View, row: Row) -> h.Node:
    kind = queues().get(row["queue"], row["queue"])
    told = f"{number(row['number'])}{' or more' if row['number'] >= MOST else ''}"
    what = "failure" if row["verdict"] == "failure" else "rejection"
    many = "" if row["number"] == 1 else "s"
    return h.a(href=f"{view.address}?kind={kind}&verdict={row['verdict']}")[h.strong[told], f" {what}{many} of {kind}"]


def _filters(view: View, asked: LetterFilter) -> h.Node:
    return filters(
        view.address,
        choice("kind", "Queue", sorted(contracts()), queues().get(asked.kind or "", asked.kind)),
        choice("verdict", "Class", ["failure", "rejection"], asked.verdict),
        words("reason", "Reason has", asked.reason),
        words("row", "Id begins with", asked.row),
        h.label(".tick")[
            h.input(type="checkbox", name="answered", value="true", checked=asked.answered), " answered, too"
        ],
    )


def _list(view: View, asked: LetterFilter, rows: list[Row]) -> h.Node:
    may_answer = view.may("dead-letters.write") and any(row["answered_at"] is None for row in rows)
    about = subjects(view.call.conn, rows)
    columns = [
        *([Column("Chosen", _box)] if may_answer else []),
        Column("Letter", lambda row: link(f"/dead-letters/{row['dead_letter_id']}", str(row["dead_letter_id"]))),
        Column("Class", verdict),
        Column("Queue", lambda row: queues().get(row["queue"], row["queue"])),
        Column("Died", lambda row: when(row["died_at"], view.now)),
        Column("About", about.link),
        Column("Reason", lambda row: h.span(".clip")[row["reason"]]),
        *([Column("Answer", lambda row: answer(view, row))] if asked.answered else []),
    ]
    empty = (
        "None is open: what workers can't handle, and what senders did wrong, comes here with its reason."
        if asked == LetterFilter()
        else ["None fits this filter. ", link(view.address, "Show all that are open")]
    )
    listed = table(columns, rows, empty, "Dead letters")
    return _answerable(view, rows, listed) if may_answer else listed


def answer(view: View, row: Row) -> h.Node:
    if row["answered_at"] is None:
        return h.span(".dim")["open"]
    return [f"{row['answer']} by {row['answered_by']} ", when(row["answered_at"], view.now)]


def _box(row: Row) -> h.Node:
    if row["answered_at"] is not None:
        return None
    number_ = str(row["dead_letter_id"])
    return h.label(".tick")[
        h.input(type="checkbox", name="ids", value=number_), h.span(".unseen")[f"Dead letter {number_}"]
    ]


def _answerable(view: View, rows: list[Row], listed: h.Node) -> h.Node:
    """One form around all rows: what is ticked is replayed or discarded."""
    seen = [row["dead_letter_id"] for row in rows]
    return h.form(".many", method="post", action=f"{ACTIONS}/{REPLAY}")[
        h.input(type="hidden", name=ONCE, value=token("letters", seen)),
        h.input(type="hidden", name=BACK, value=view.address),
        h.input(type="hidden", name=DONE, value="Answered."),
        h.div(".actions")[
            h.label(".tick")[h.input(type="checkbox", data_ticks="ids"), " all on this page"],
            h.label(".reason")[
                h.span(".unseen")["Reason"], h.input(name=REASON, maxlength="500", placeholder="reason, for the audit")
            ],
            _asks("Replay those ticked", REPLAYS, h.button(".button", type="submit")["Replay"]),
            _asks(
                "Discard those ticked",
                DISCARDS,
                h.button(".button.danger", type="submit", formaction=f"{ACTIONS}/{DISCARD}")["Discard"],
                is_danger=True,
            ),
        ],
        listed,
    ]


def _asks(label: str, consequence: str, pressed: h.Node, *, is_danger: bool = False) -> h.Node:
    return h.details(".asks")[
        h.summary(class_={"button": True, "danger": is_danger})[f"{label} …"],
        h.div(".ask")[h.p(".consequence")[consequence], pressed],
    ]


PAGES = (
    Page(
        "/dead-letters",
        "Dead letters",
        "dead-letters.read",
        dead_letters,
        menu=60,
        asks=LetterFilter,
        machines=frozenset({"dead_letter"}),
    ),
)
