"""The doctor: what is wrong with the database and what to do, the worst first; examined when the page is opened."""

from collections.abc import Mapping
from concurrent.futures import Future

import htpy as h

from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.words import number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.motion import told
from pgfleet.producers.http.health.examining import Examined
from pgfleet.schema.rows.row import Row

FINDINGS = "/doctor/findings"
EXAMINING = "Examining the database … this takes some seconds."
SOON = "load delay:1s"
UNABLE = "unable"
ORDER = ("error", "warning", "skipped", UNABLE, "ok")
# Of each severity; the command lists all.
MOST = 100
TITLES = {
    "error": "To be put right",
    "warning": "To be looked at",
    "skipped": "Not examined yet",
    UNABLE: "Not for the login of the API to examine",
    "ok": "Well",
}
# Of those that nobody has to read at once, only how many there are.
FOLDED = (UNABLE, "ok")
# Where one looks, and does something about it.
PLACES = {
    "queues": "/dead-letters",
    "held back": "/queues",
    "workers": "/queues",
    "outages": "/queues",
    "disks": "/quarantine",
    "silence": "/nodes",
}
MARKS = {
    "error": ("✕", "bad"),
    "warning": ("▲", "waits"),
    "skipped": ("○", "over"),
    UNABLE: ("○", "over"),
    "ok": ("●", "good"),
}


def doctor(_: View) -> Screen:
    """The findings come by themselves: an examination takes some seconds, and in a large fleet half a minute."""
    examined = h.div(
        "#findings", {"hx-get": FINDINGS, "hx-trigger": "load", "hx-swap": "innerHTML", "aria-live": "polite"}
    )[
        h.p(".dim")[EXAMINING],
        h.noscript[h.p[h.a(href=FINDINGS)["Show what it says"]]],
    ]
    return Screen("Doctor", [Part("findings", examined, is_live=False)])


def doctor_findings(view: View) -> Screen:
    """What was found last, and when; while it is examined anew, it asks again by itself."""
    examining = view.call.examining
    running = examining.looked(view.call.principal)
    return Screen("Doctor", [Part("all", [_state(running), _found(view, examining.last)])])


def _state(running: Future[Examined] | None) -> h.Node:
    if running is None:
        return None
    if running.done() and running.exception():
        return h.p(".trouble")["▲ The examination failed: the database does not answer. Load this page again."]
    again = {"hx-get": FINDINGS, "hx-trigger": SOON, "hx-target": "#findings", "hx-swap": "innerHTML"}
    return h.p(".dim", again)[EXAMINING]


def _found(view: View, examined: Examined | None) -> h.Node:
    if examined is None:
        return None
    found = told(examined)
    by_severity = {name: [each for each in found if _sort(each) == name] for name in ORDER}
    return [
        _summary(by_severity),
        h.p(".dim")["Examined ", when(examined.at, view.now), "."],
        [_section(*each) for each in by_severity.items()],
    ]


def _sort(each: Row) -> str:
    """Its severity; apart are those checks that the login of the API may not make."""
    return UNABLE if each["code"].endswith(f".{UNABLE}") and each["severity"] != "error" else str(each["severity"])


def _summary(by_severity: Mapping[str, list[Row]]) -> h.Node:
    errors, warnings = len(by_severity["error"]), len(by_severity["warning"])
    if errors or warnings:
        return h.p(class_=["lead", "trouble" if errors else "waits"])[
            f"{'✕' if errors else '▲'} {number(errors, 'error')}, {number(warnings, 'warning')}.",
        ]
    return h.p(".lead.good")[f"● All is well: {number(len(by_severity['ok']), 'check')} found nothing."]


def _section(severity: str, found: list[Row]) -> h.Node:
    if not found:
        return None
    rest = len(found) - MOST
    shown = [
        h.ul(".findings")[(h.li[_finding(each)] for each in found[:MOST])],
        rest > 0 and h.p(".dim")[f"and {number(rest)} more: ", h.code["pgfleet doctor"], " lists all."],
    ]
    if severity in FOLDED:
        return h.details(".well")[h.summary[f"{TITLES[severity]}: {number(len(found), 'check')}"], shown]
    return [h.h2[TITLES[severity]], shown]


def _finding(each: Row) -> h.Node:
    mark, tone = MARKS[_sort(each)]
    place = PLACES.get(each["check"]) if each["severity"] != "ok" else None
    return [
        h.p[
            h.span(class_=["state", f"tone-{tone}"])[h.span(".mark", aria_hidden="true")[mark], " ", each["check"]],
            " ",
            each["text"],
            place and [" ", to_page(place, "Look →")],
        ],
        each["remedy"] and h.p(".remedy")[h.span(".dim")["Do: "], h.code[each["remedy"]]],
    ]


PAGES = (
    Page("/doctor", "Doctor", "doctor.read", doctor, menu=65),
    Page(FINDINGS, "Findings", "doctor.read", doctor_findings, is_fragment=True),
)
