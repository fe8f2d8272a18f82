"""Hopsworks clusters by load: how many seats are taken, whether they answer, and who waits for one."""

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.pictures.bars import bar
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.assignments import get_hopsworks_cluster, list_hopsworks_clusters
from pgfleet.schema.reads import hopsworks as reads
from pgfleet.schema.rows.row import Row

FIRST = (
    "There are none yet. One is added at the database, since its key is not for a page to see: ",
    h.code["pgfleet hopsworks add --name eu-1 --api-url https://..."],
)
# How a breaker that is open is called.
TROUBLES = {"api_key": "refuses our key", "unreachable": "does not answer"}


def hopsworks(view: View) -> Screen:
    rows = sorted(list_hopsworks_clusters(view.call).body["items"], key=load, reverse=True)
    return Screen(
        "Hopsworks",
        [
            Part("also", h.p(".also")[to_page("/hopsworks/users", "Users and their seats")]),
            Part("waits", _waiting(reads.waiting(view.call.conn))),
            Part("list", table(_columns(view), rows, FIRST, "Hopsworks clusters")),
        ],
    )


def load(row: Row) -> float:
    """Which part of its seats is taken; one without seats comes last."""
    return (row["current_users"] or 0) / row["max_users"] if row["max_users"] else -1.0


def _columns(view: View) -> list[Column]:
    return [
        Column("Cluster", lambda row: h.a(href=f"/hopsworks/clusters/{row['id']}")[row["name"]]),
        Column("Seats", seats),
        Column("State", lambda row: state(row["status"] or "unknown")),
        Column("Answers", lambda row: answers(view, row)),
        Column("Waiting", lambda row: told(row["waiting"])),
        Column("Failing checks", lambda row: told(row["open_failures"])),
    ]


def seats(row: Row) -> h.Node:
    """How many are taken of how many; where the count is not that of the assignments, that, too."""
    taken, most = row["current_users"] or 0, row["max_users"] or 0
    free = max(most - taken, 0)
    words = f"{number(taken)} of {number(most, 'seat')} taken"
    parts = [("held", taken, f"{taken} taken"), ("room", free, f"{free} free")]
    return [
        h.span(".of-most", title=words)[bar(parts, words), f"{number(taken)} of {number(most)}"],
        row["mismatch"] and h.div(".waits")[f"▲ {number(row['assigned'], 'assignment')}: counted anew within minutes"],
    ]


def answers(view: View, row: Row) -> h.Node:
    """Whether its API does, and if not, since when, why, and when it is tried again."""
    breaker = row["breaker"]
    if not breaker["open"]:
        return h.span(".good")["● yes"]
    return h.span(".trouble", title=breaker["reason"])[
        f"✕ {TROUBLES.get(breaker['kind'], 'in trouble')} ",
        h.span(".dim")[
            "since ", when(breaker["began_at"], view.now), ", next try ", when(breaker["retry_at"], view.now)
        ],
    ]


def told(counts: dict[str, int]) -> h.Node:
    if not counts:
        return h.span(".dim")["–"]
    return h.span[", ".join(f"{number(many)} × {name.lower().replace('_', ' ')}" for name, many in counts.items())]


def _waiting(waits: dict[str | None, dict[str, int]]) -> h.Node:
    """Those who would go to any cluster: they are in no row below."""
    anywhere = waits.get(None)
    if not anywhere:
        return None
    return h.p(".waits")["◔ For any cluster wait: ", to_page("/hopsworks/users", told(anywhere), "waiting=true")]


def hopsworks_cluster(view: View) -> Screen:
    row = get_hopsworks_cluster(view.call).body
    facts = [
        ("State", state(row["status"] or "unknown")),
        ("Seats", seats(row)),
        ("Answers", answers(view, row)),
        ("Waiting", told(row["waiting"])),
        ("Free elsewhere", number(row["free_elsewhere"], "seat")),
        ("Address", row["api_url"]),
        ("Metered", "yes" if row["has_kubeconfig"] else "no: without a kubeconfig its CPU and GPU hours are not known"),
    ]
    return Screen(
        row["name"],
        [
            Part("facts", h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts)]),
            Part("also", h.p(".also")[to_page("/hopsworks/users", "Its users", f"cluster_id={row['id']}")]),
            Part("act", lambda: _acts(view, row), is_live=False),
            Part("failures", _failures(view, row)),
        ],
    )


def _acts(view: View, row: Row) -> h.Node:
    path, seen = {"id": row["id"]}, (row["id"], row["status"], row["assigned"])
    drain = Act(
        "drain_hopsworks_cluster",
        "Drain",
        token("drain", *seen),
        path,
        fields=h.label[
            "Its users",
            h.select(name="move")[
                h.option(value="on")["go elsewhere, as far as there is room"], h.option(value="off")["stay on it"]
            ],
        ],
        consequence=_fate(row),
        takes_reason=True,
        done=f"{row['name']} takes no new users.",
    )
    reopen = Act(
        "open_hopsworks_cluster",
        "Open again",
        token("open", *seen),
        path,
        takes_reason=True,
        done=f"{row['name']} takes users again.",
    )
    is_open = row["status"] in ("active", "full")
    return h.div(".actions")[
        is_open and button(view, drain),
        row["status"] == "maintenance" and row["assigned"] and button(view, drain),
        not is_open and button(view, reopen),
    ]


def _fate(row: Row) -> str:
    on_it, free = row["assigned"], row["free_elsewhere"]
    if not on_it:
        return "It takes no new users until it is opened again. Nobody is on it."
    stay = f"; {number(on_it - free)} of them stay until there is room" if on_it > free else ""
    return (
        f"It takes no new users until it is opened again. {number(on_it, 'user')} on it: whoever moves gets a new"
        f" account elsewhere, and the one here is deactivated. {number(free, 'seat')} free elsewhere{stay}."
    )


def _failures(view: View, row: Row) -> h.Node:
    columns = [
        Column("Check", lambda each: each["check_name"].replace("_", " ")),
        Column("User", lambda each: each["email"] or each["user_id"] or h.span(".dim")["the cluster itself"]),
        Column("What is wrong", lambda each: each["details"]),
        Column("Times", lambda each: number(each["failures"]), is_number=True),
        Column("Since", lambda each: when(each["first_failed_at"], view.now)),
        Column("Last", lambda each: when(each["last_failed_at"], view.now)),
    ]
    return [h.h2["Failing checks"], table(columns, row["open_failures"], "All checks pass.", "Failing checks")]


MOVED_BY = frozenset({"assignment"})
PAGES = (
    Page("/hopsworks", "Hopsworks", "hopsworks-clusters.read", hopsworks, menu=60, machines=MOVED_BY),
    Page(
        "/hopsworks/clusters/{id}",
        "Hopsworks cluster",
        "hopsworks-clusters.read",
        hopsworks_cluster,
        machines=MOVED_BY,
    ),
)
