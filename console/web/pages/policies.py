"""Policies: how much one user, one of a team, or anybody may have; set and removed by operators."""

from collections.abc import Iterable

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.tables import Column, filters, table, words
from pgfleet.console.web.look.words import number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.people.me import limits
from pgfleet.producers.http.endpoints.policies import ForUser
from pgfleet.schema.policy.book import limit_names
from pgfleet.schema.policy.book import policies as all_policies
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.rows.row import Row

FIRST = "Nothing is limited: anybody may have as much as there is. Set the first policy above."


def policies(view: View) -> Screen:
    asked = view.call.asked(ForUser)
    columns = [
        Column("Limit", lambda row: [row["counts"], row["gpu_type"] and h.span(".dim")[f" of {row['gpu_type']}"]]),
        Column("For", lambda row: f"{row['applies_to']} {row['subject']}"),
        Column("Most", most),
        Column("Set by", lambda row: row["set_by"]),
        Column("Set", lambda row: when(row["set_at"], view.now)),
        Column("", lambda row: _remove(view, row)),
    ]
    rows = all_policies(view.call.conn)
    applies = asked.user_id and [h.h2[f"What applies to {asked.user_id}"], limits(view, asked.user_id)]
    return Screen(
        "Policies",
        [
            Part(
                "ask", filters(view.address, words("user_id", "What applies to the user", asked.user_id)), is_live=False
            ),
            Part("applies", applies, is_live=False),
            Part("add", h.div(".actions")[_set(view)], is_live=False),
            Part("list", table(columns, rows, FIRST, "Policies"), is_live=False),
            Part("how", h.p(".dim")["Of what is said for a user, a team and everybody, the narrowest counts."]),
        ],
    )


def most(row: Row) -> h.Node:
    if row["patterns"]:
        return ", ".join(row["patterns"])
    return h.span(".dim")["no limit"] if row["most"] is None else number(row["most"])


def _set(view: View) -> h.Node:
    def options(names: Iterable[str], none: str | None = None) -> h.Node:
        return [none and h.option(value="")[none], (h.option(value=name)[name] for name in names)]

    act = Act(
        "put_policy",
        "Set a policy",
        token("put_policy", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label["Limit", h.select(name="path.limit")[options(limit_names(view.call.conn))]],
            h.label["At most", h.input(name="most", type="number", min="0", step="any", placeholder="no limit")],
            h.label["Of images: patterns, apart by spaces", h.input(name="patterns", placeholder="ghcr.io/ours/*")],
            h.label["Of GPUs: the type", h.select(name="gpu_type")[options(reads.types(view.call.conn), "each")]],
            h.label["For the user", h.input(name="user", maxlength="255", placeholder="everybody")],
            h.label["Or for each of the team, by the owner's id", h.input(name="team", maxlength="255")],
        ],
        consequence="Whoever has more keeps it, and gets no more.",
        takes_reason=True,
        done="Set: it counts from now on.",
    )
    return button(view, act)


def _remove(view: View, row: Row) -> h.Node:
    whom = {"user": "user", "team": "team"}.get(row["applies_to"])
    act = Act(
        "remove_policy",
        "Remove",
        token("remove_policy", row["limit_name"], row["applies_to"], row["subject"], row["gpu_type"], row["set_at"]),
        {"limit": row["limit_name"]},
        fields=[
            whom and h.input(type="hidden", name=whom, value=row["subject"]),
            row["gpu_type"] and h.input(type="hidden", name="gpu_type", value=row["gpu_type"]),
        ],
        consequence="Then what is said for more people counts; where nothing is, there is no limit.",
        takes_reason=True,
        is_danger=True,
        done="Removed.",
    )
    return button(view, act)


PAGES = (Page("/policies", "Policies", "policies.write", policies, menu=92, asks=ForUser, is_own=True),)
