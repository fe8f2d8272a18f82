"""Users of Hopsworks: who has a seat where, who waits for one, and what becomes of one of them."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.assignments import AssignmentFilter, get_assignment, list_assignments
from pgfleet.schema.assignment import FINAL, Status
from pgfleet.schema.reads import assignment as reads
from pgfleet.schema.reads import hopsworks as clusters
from pgfleet.schema.rows.row import Row

FIRST = "Nobody has a place yet. The sign-up service writes who there is, and asks for seats; so may an ADMIN."
NONE = "You have no account on a Hopsworks cluster. It is made when you sign up there."


def hopsworks_users(view: View) -> Screen:
    asked = view.call.asked(AssignmentFilter)
    found = list_assignments(replace(view.call, query=_by_id(view, asked))).body
    return Screen(
        "Users of Hopsworks",
        [
            Part("add", lambda: h.div(".actions")[_assign(view)], is_live=False),
            Part("ask", lambda: _filters(view, asked), is_live=False),
            Part("list", _list(view, found["items"], is_filtered=asked != AssignmentFilter())),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def _by_id(view: View, asked: AssignmentFilter) -> AssignmentFilter:
    """With the id of the user whose e-mail was given."""
    user = reads.find_user(view.call.conn, asked.user_id) if asked.user_id and "@" in asked.user_id else None
    return asked if user is None else asked.model_copy(update={"user_id": user["user_id"]})


def _assign(view: View) -> h.Node:
    act = Act(
        "assign_user",
        "Give a seat",
        token("assign_user", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label[
                "User, by the whole id",
                h.input(name="user_id", required=True, maxlength="255", placeholder="auth0|5f7c8ec7c33c6c004bbafe82"),
            ],
            _choose(view, None),
        ],
        takes_reason=True,
        back="/hopsworks/users",
        done="Asked for: the list shows what becomes of it.",
    )
    return button(view, act)


def _choose(view: View, but: str | None) -> h.Node:
    """The clusters that take users, but for the one they are on."""
    rows = [row for row in _open(view) if row["id"] != but]
    return h.label[
        "Cluster",
        h.select(name="cluster_id")[
            h.option(value="")["the least loaded, or the owner's"],
            (
                h.option(value=row["id"])[f"{row['name']} ({row['current_users'] or 0} of {row['max_users']} taken)"]
                for row in rows
            ),
        ],
    ]


def _open(view: View) -> list[Row]:
    if not view.may("hopsworks-clusters.read"):
        return []
    return [row for row in clusters.listing(view.call.conn) if row["status"] in ("active", "full")]


def _filters(view: View, asked: AssignmentFilter) -> h.Node:
    return filters(
        view.address,
        choice("status", "State", list(Status), asked.status),
        view.sees_all("assignments.read") and words("user_id", "User, by id or e-mail", asked.user_id),
        asked.cluster_id and words("cluster_id", "Cluster, by its id", asked.cluster_id),
        h.label(".tick")[h.input(type="checkbox", name="waiting", value="true", checked=asked.waiting), " waiting"],
    )


def _list(view: View, rows: list[Row], *, is_filtered: bool) -> h.Node:
    columns = [
        Column("User", lambda row: h.a(href=address_of(row["user_id"]), title=row["user_id"])[row["email"]]),
        Column("State", _state),
        Column("Cluster", where),
        Column("Since", lambda row: when(row["status_since"], view.now)),
        Column("Account", lambda row: row["hopsworks_username"] or h.span(".dim")["none"]),
        Column("What it says", lambda row: row["detail"] or row["status_reason"]),
    ]
    empty = (
        ["None fits this filter. ", h.a(href=view.address)["Show all"]]
        if is_filtered
        else FIRST
        if view.sees_all("assignments.read")
        else NONE
    )
    return table(columns, rows, empty, "Users of Hopsworks")


def address_of(user_id: str) -> str:
    return f"/hopsworks/users/{quote(user_id, safe='')}"


def _state(row: Row) -> h.Node:
    return [state(row["status"] or "none"), row["suspended_at"] and h.span(".waits")[" ◫ suspended"]]


def where(row: Row) -> h.Node:
    """The cluster they are on, else the one they would go to."""
    if row["cluster_name"]:
        return h.span[row["cluster_name"]]
    if row["wanted_cluster_name"]:
        return h.span(".dim")[f"wants {row['wanted_cluster_name']}"]
    return h.span(".dim")[f"was on {row['left_cluster_name']}"] if row["left_cluster_name"] else "–"


def hopsworks_user(view: View) -> Screen:
    row = get_assignment(view.call).body
    facts = [
        ("State", _state(row)),
        ("Why", row["detail"] or row["status_reason"]),
        ("Since", when(row["status_since"], view.now)),
        ("Cluster", _cluster(view, row)),
        ("Account", row["hopsworks_username"] or "none yet"),
        ("Logs in", _logs_in(row)),
        ("Projects at most", number(row["max_projects"])),
        ("E-mail", row["email"]),
        ("Id", h.code[row["user_id"]]),
        ("Team of", row["account_owner_id"] and _owner(row)),
    ]
    return Screen(
        row["name"] or row["email"] or row["user_id"],
        [
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]),
            Part("act", lambda: _acts(view, row), is_live=False),
            Part("requests", _requests(view, row)),
            Part("failures", _failures(view, row)),
            Part("history", _history(view, row)),
        ],
    )


def _cluster(view: View, row: Row) -> h.Node:
    if row["cluster_id"] and view.may("hopsworks-clusters.read"):
        return h.a(href=f"/hopsworks/clusters/{row['cluster_id']}")[row["cluster_name"]]
    return where(row)


def _logs_in(row: Row) -> str:
    if row["suspended_at"]:
        return f"no: suspended ({row['suspended_for'] or 'asked for'})"
    return {True: "yes", False: "no"}.get(row["account_enabled"], "not known yet")


def _owner(row: Row) -> h.Node:
    return h.a(href=address_of(row["account_owner_id"]))[row["owner_email"] or row["account_owner_id"]]


def _acts(view: View, row: Row) -> h.Node:
    seen = tuple(row[name] for name in ("user_id", "status", "status_since", "cluster_id", "suspended_at"))
    path, name = {"user_id": row["user_id"]}, row["email"] or row["user_id"]

    def act(operation: str, label: str, **more: Any) -> h.Node:
        once = token(operation, *seen)
        return button(view, Act(operation, label, once, more.pop("path", path), takes_reason=True, **more))

    has_none = row["status"] is None or row["status"] in FINAL
    return h.div(".actions")[
        act(
            "assign_user",
            "Give a seat" if has_none else "Move",
            path={},
            fields=[h.input(type="hidden", name="user_id", value=row["user_id"]), _choose(view, row["cluster_id"])],
            consequence=None
            if has_none
            else "They get a new account on the other cluster; the one here is deactivated, with its projects.",
            done="Asked for: this page shows what becomes of it.",
        ),
        not has_none
        and [
            act(
                "reactivate_user",
                "Let in again",
                consequence=f"{name} can log in again, and so can the team that was suspended with them.",
                done="Asked for.",
            )
            if row["suspended_at"]
            else act(
                "suspend_user",
                "Suspend",
                consequence=f"{name} can't log in any more, nor can the team of an owner; they keep their seats.",
                done="Asked for.",
            ),
            act(
                "release_user",
                "Release",
                consequence=f"{name} loses the seat. The account is deactivated; what they have made stays.",
                is_danger=True,
                done="Asked for.",
            ),
        ],
    ]


def _requests(view: View, row: Row) -> h.Node:
    if not row["requests"]:
        return None
    return [
        h.h2["On its way"],
        h.ul[(h.li[f"{each['action']}, due ", when(each["due_at"], view.now)] for each in row["requests"])],
    ]


def _failures(view: View, row: Row) -> h.Node:
    if not row["open_failures"]:
        return None
    columns = [
        Column("Check", lambda each: each["check_name"].replace("_", " ")),
        Column("What is wrong", lambda each: each["details"]),
        Column("Since", lambda each: when(each["first_failed_at"], view.now)),
    ]
    return [h.h2["Failing checks"], table(columns, row["open_failures"], "", "Failing checks")]


def _history(view: View, row: Row) -> h.Node:
    columns = [
        Column("When", lambda each: when(each["at"], view.now)),
        Column("Became", lambda each: state(each["what"])),
        Column("Why", lambda each: each["why"]),
    ]
    return [h.h2["History"], table(columns, row["history"][::-1], "Nothing has happened yet.", "History")]


MOVED_BY = frozenset({"assignment"})
PAGES = (
    Page(
        "/hopsworks/users",
        "Users of Hopsworks",
        "assignments.read",
        hopsworks_users,
        asks=AssignmentFilter,
        machines=MOVED_BY,
    ),
    Page("/hopsworks/users/{user_id}", "User of Hopsworks", "assignments.read", hopsworks_user, machines=MOVED_BY),
)
