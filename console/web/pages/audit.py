"""The audit: who did what, what was refused, from where; with the filter in the address."""

from datetime import timedelta
from typing import get_args
from urllib.parse import urlencode

import htpy as h

from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoint import Category
from pgfleet.producers.http.endpoints.motion import AuditFilter, list_audit
from pgfleet.schema.rows.row import Row

SPANS = (("the last hour", 1), ("day", 24), ("week", 168))
# Where what a row is about has a page of its own.
PLACES = {
    "reservation": "/reservations/{}",
    "node": "/nodes/{}",
    "cluster": "/clusters/{}",
    "user": "/users/{}",
    "subscription": "/subscriptions/{}",
    "hopsworks_cluster": "/hopsworks/clusters/{}",
}


def audit(view: View) -> Screen:
    asked = view.call.asked(AuditFilter)
    found = list_audit(view.call).body
    is_filtered = asked != AuditFilter()
    empty = (
        ["Nothing fits this filter. ", h.a(href=view.address)["Show all"]]
        if is_filtered
        else "Nothing yet: each write, each sign-in and each refusal of somebody is written here."
    )
    return Screen(
        "Audit",
        [
            Part("ask", _filters(view, asked), is_live=False),
            Part("list", table(_columns(view), found["items"], empty, "Audit")),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def _filters(view: View, asked: AuditFilter) -> h.Node:
    about = [
        words(name, label, value) if value else None
        for name, label, value in (
            ("resource_type", "What sort of thing", asked.resource_type),
            ("resource_id", "Which one", asked.resource_id),
        )
    ]
    return [
        filters(
            view.address,
            words("who", "Who", asked.who, placeholder="ada@example.org"),
            words("action", "Action", asked.action, placeholder="NODE_CREATED"),
            choice("category", "Category", get_args(Category), asked.category),
            choice("status", "Outcome", ("SUCCESS", "FAILURE"), asked.status),
            about,
            words("since", "Since", asked.since.isoformat() if asked.since else None, placeholder="2026-11-28T14:00Z"),
        ),
        h.p(".also")["Since: ", (h.a(href=_since(view, asked, hours))[name] for name, hours in SPANS)],
    ]


def _since(view: View, asked: AuditFilter, hours: int) -> str:
    """The same filter, from so many hours ago on; whole minutes, so that the address stays for a moment."""
    given = asked.model_dump(exclude_none=True, exclude_defaults=True, mode="json", exclude={"cursor", "since"})
    since = view.now.replace(second=0, microsecond=0) - timedelta(hours=hours)
    return f"{view.address}?{urlencode({**given, 'since': f'{since:%Y-%m-%dT%H:%MZ}'})}"


def _columns(view: View) -> list[Column]:
    return [
        Column("When", lambda row: when(row["at"], view.now)),
        Column("Who", lambda row: _who(view, row)),
        Column("Did", lambda row: h.a(".line", href=f"{view.address}?action={row['action']}")[_said(row["action"])]),
        Column("To what", _what),
        Column("Outcome", _outcome),
        Column("Why", lambda row: row["error_message"] or row["description"] or row["details"]),
        Column("From", lambda row: h.span(title=row["user_agent"])[row["ip_address"]] if row["ip_address"] else "–"),
    ]


def _who(view: View, row: Row) -> h.Node:
    if row["user_email"] is None:
        return h.span(".dim")["nobody known"]
    return h.span(".line")[
        h.a(href=f"{view.address}?{urlencode({'who': row['user_email']})}")[row["user_email"]],
        " ",
        h.span(".dim")[row["user_role"]],
    ]


def _said(action: str) -> str:
    return action.lower().replace("_", " ")


def _what(row: Row) -> h.Node:
    kind, which = row["resource_type"], row["resource_id"]
    if kind is None:
        return h.span(".dim")["–"]
    named = row["resource_name"] or (which and which[:36])
    place = PLACES.get(kind)
    link = (
        h.a(href=place.format(which), title=which)[named] if place and _is_plain(which) else h.span(title=which)[named]
    )
    return [h.span(".dim")[kind.replace("_", " ")], " ", link]


def _is_plain(which: str | None) -> bool:
    """Ids of ours: letters, digits and hyphens. Others have no page."""
    return which is not None and which.replace("-", "").replace("_", "").isalnum() and which.isascii()


def _outcome(row: Row) -> h.Node:
    return state("ok" if row["status"] == "SUCCESS" else "failed") if row["status"] else "–"


PAGES = (Page("/audit", "Audit", "audit.read", audit, menu=95, asks=AuditFilter, is_own=True),)
