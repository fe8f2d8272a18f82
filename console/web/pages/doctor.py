"""The doctor: what is wrong with the database and what to do, the worst first; examined when the page is open."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.words import number
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.motion import get_doctor

FINDINGS = "/doctor/findings"
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
Finding = dict[str, Any]


def doctor(_: View) -> Screen:
    """The examination reads much: it comes by itself, so that the page is there at once."""
    examined = h.div(
        "#findings", {"hx-get": FINDINGS, "hx-trigger": "load", "hx-swap": "innerHTML", "aria-live": "polite"}
    )[
        h.p(".dim")["Examining the database … this takes some seconds."],
        h.noscript[h.p[h.a(href=FINDINGS)["Show what it says"]]],
    ]
    return Screen("Doctor", [Part("findings", examined, is_live=False)])


def doctor_findings(view: View) -> Screen:
    found: list[Finding] = get_doctor(view.call).body["items"]
    by_severity = {name: [each for each in found if _sort(each) == name] for name in ORDER}
    return Screen("Doctor", [Part("all", [_summary(by_severity), [_section(*each) for each in by_severity.items()]])])


def _sort(each: Finding) -> str:
    """Its severity; apart are those checks that the login of the API may not make."""
    return UNABLE if each["code"].endswith(f".{UNABLE}") and each["severity"] != "error" else str(each["severity"])


def _summary(by_severity: dict[str, list[Finding]]) -> h.Node:
    errors, warnings = len(by_severity["error"]), len(by_severity["warning"])
    if errors or warnings:
        return h.p(class_=["lead", "trouble" if errors else "waits"])[
            f"{'✕' if errors else '▲'} {number(errors, 'error')}, {number(warnings, 'warning')}.",
        ]
    return h.p(".lead.good")[f"● All is well: {number(len(by_severity['ok']), 'check')} found nothing."]


def _section(severity: str, found: list[Finding]) -> h.Node:
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


def _finding(each: Finding) -> h.Node:
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
