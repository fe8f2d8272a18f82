"""One reservation: its state and the way it took, its place and why, how to get in, and what may be asked of it."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.links import to_page, to_reservation
from pgfleet.console.web.look.pictures.machine import picture
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import gpus, number, since, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.reservations import get_timeline
from pgfleet.schema.reads import about
from pgfleet.schema.reads.pictures.machine import moves
from pgfleet.schema.reservation import FINAL, MACHINE, WAITING, Status

# Columns and rows of the picture.
PLACES = {
    "pending": (0, 0), "queued": (1, 0), "preparing": (2, 0), "active": (3, 0),
    "cancelled": (1, 1), "failed": (2, 1), "expired": (3, 1),
}  # fmt: skip
AGAIN = "a worker looks at it again"
Known = dict[str, Any]


def reservation(view: View) -> Screen:
    told = get_timeline(view.having("reservations.read")).body
    row = told["reservation"]
    title = row["name"] or f"Reservation {row['reservation_id'][:8]}"
    return Screen(
        title,
        [
            Part("state", _state(view, row, told["paused"])),
            Part("actions", _actions(view, row)),
            Part("picture", _picture(view, row)),
            Part("facts", _facts(view, row, told["gang"])),
            Part("story", _story(view, told)),
            Part("logs", _logs(row), is_live=False),
        ],
    )


def _state(view: View, row: Known, paused: str | None) -> h.Node:
    told = when if row["status"] in FINAL else since
    return [
        h.p(".lead")[
            state(row["status"]), " ", told(row["status_since"], view.now), " · ", gpus(row), " of ", row["user_id"]
        ],
        row["failure_reason"] and h.p(".trouble")[row["failure_reason"]],
        row["warning"] and h.p(".trouble")[row["warning"]],
        row["waits_for"] and h.p(".trouble")[row["waits_for"]],
        row["status"] in WAITING and _place(view, row),
        row["status"] not in FINAL and row["current_detailed_status"] and h.p[row["current_detailed_status"]],
        paused and h.p(".trouble")[paused],
        row["status"] == Status.ACTIVE and _way_in(row),
    ]


def _place(view: View, row: Known) -> h.Node:
    """Where it stands, why, and when it starts."""
    if row.get("position") is None:
        return None
    promise = " at the latest" if row["eta_is_promised"] and row["eta"] else ""
    ahead = row["ahead"]
    return h.p[
        h.strong["Next in line" if ahead == 0 else f"{number(ahead)} ahead of it"],
        "; starts ",
        when(row["eta"], view.now, "nobody knows when"),
        promise,
    ]


def _way_in(row: Known) -> h.Node:
    ssh = row["ssh_command"]
    return h.div(".way-in")[
        ssh and h.div(".copy")[h.code("#ssh")[ssh], h.button(".button", type="button", data_copy="ssh")["Copy"]],
        row["jupyter_url"] and h.p[h.a(href=_web(row["jupyter_url"]), rel="noreferrer")["Open Jupyter"]],
        row["jupyter_error"] and h.p(".trouble")[row["jupyter_error"]],
    ]


def _web(address: str) -> str | None:
    """Never `javascript:`, whoever has written it."""
    return address if address.startswith(("https://", "http://")) else None


def _actions(view: View, row: Known) -> h.Node:
    row_id, status = row["reservation_id"], row["status"]
    path, seen = {"id": row_id}, (row_id, status, row["status_since"], row["expires_at"])
    here = f"/reservations/{row_id}"

    def act(operation: str, label: str, **more: Any) -> h.Node:
        return button(
            view, Act(operation, label, token(operation, *seen, row.get("requests_done")), path, back=here, **more)
        )

    if status in FINAL:
        return h.div(".actions")[act("retry_reservation", "Ask for the same again", done="Asked for the same again.")]
    jupyter = row["jupyter_enabled"]
    return h.div(".actions")[
        status == Status.ACTIVE
        and act(
            "extend_reservation",
            "Extend",
            fields=h.label[
                "By how many hours",
                h.input(
                    name="extension_hours", type="number", min="0.25", max="168", step="0.25", value="2", required=True
                ),
            ],
            takes_reason=True,
            done="Asked for more hours: the end below moves when a worker has granted them.",
        ),
        act(
            "disable_jupyter" if jupyter else "enable_jupyter",
            "Switch Jupyter off" if jupyter else "Switch Jupyter on",
            done="Asked for: its link is here once it runs." if not jupyter else "Asked for.",
        ),
        act(
            "add_user",
            "Let somebody in",
            fields=h.label["Their name at GitHub", h.input(name="github_username", required=True, maxlength="100")],
            done="Asked for: their SSH keys at GitHub will let them in.",
        ),
        act(
            "cancel_reservation",
            "End" if status == Status.ACTIVE else "Cancel",
            consequence=_consequence(row),
            takes_reason=True,
            is_danger=True,
            done="Asked to end it.",
        ),
    ]


def _consequence(row: Known) -> str:
    if row["status"] in WAITING:
        return "It loses its place in the line; asking again begins at the end of it."
    kept = (
        f"Its disk {row['disk_name']} is kept as a snapshot"
        if row["disk_name"]
        else "It has no disk, so nothing of it is kept"
    )
    return f"Its pod is deleted with all that runs in it. {kept}. This can't be undone."


def _picture(view: View, row: Known) -> h.Node:
    conn = view.call.conn
    taken = [(move["from_status"], move["to_status"]) for move in about.history(conn, MACHINE, [row["reservation_id"]])]
    allowed = [(move["from_status"], move["to_status"]) for move in moves(conn, MACHINE)]
    return [h.h2["Its way"], picture(PLACES, allowed, taken, row["status"])]


def _facts(view: View, row: Known, gang: Any) -> h.Node:
    facts: list[tuple[str, h.Node]] = [
        ("Id", h.code[row["reservation_id"]]),
        ("User", row["user_id"]),
        ("GPUs", gpus(row)),
        ("Asked for", [when(row["created_at"], view.now), f", for {number(row['duration_hours'], 'hour')}"]),
        ("Booked for", row["start_at"] and when(row["start_at"], view.now)),
        ("Started", row["launched_at"] and when(row["launched_at"], view.now)),
        ("Ends", row["expires_at"] and when(row["expires_at"], view.now)),
        ("Ended", row["reservation_ended"] and when(row["reservation_ended"], view.now)),
        ("Node", row["pod_node"]),
        (
            "Disk",
            row["disk_name"]
            and [to_page("/disks", row["disk_name"]), row["disk_size_gb"] and f", {row['disk_size_gb']} GB"],
        ),
        ("Others let in", ", ".join(row["secondary_users"] or ()) or None),
        ("Ends when idle for", row["idle_minutes"] and number(row["idle_minutes"], "minute")),
        ("Exit", row["exit_reason"]),
        ("Again of", row["retried_from"] and to_reservation(row["retried_from"])),
        (
            "Gang",
            gang
            and [
                [to_reservation(each["reservation_id"], f"node {each['node_index'] + 1} ({each['status']})"), " "]
                for each in gang
            ],
        ),
    ]
    return [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]


def _story(view: View, told: Known) -> h.Node:
    own = f"reservation {told['reservation']['reservation_id']}"
    columns = [
        Column("When", lambda each: when(each["at"], view.now)),
        Column("What", lambda each: each["what"]),
        Column("Why", lambda each: each["why"] and each["why"].replace(own, "this reservation")),
    ]
    return [
        h.h2["What happened"],
        table(columns, told["past"][::-1], "Nothing yet.", "What happened"),
        told["coming"] and [h.h2["What comes next"], table(_coming(view), told["coming"], "", "What comes next")],
    ]


def _coming(view: View) -> list[Column]:
    """The messages about it: the row's own lets a worker look at it again; the others are what somebody asked for."""
    return [
        Column("When", lambda each: when(each["at"], view.now)),
        Column("What", lambda each: AGAIN if each["what"] == "advance" else each["what"].replace("_", " ")),
    ]


def _logs(row: Known) -> h.Node:
    if row["status"] in WAITING:
        return None
    address = f"/reservations/{row['reservation_id']}/logs"
    return [
        h.h2["Logs"],
        h.div("#logs", {"hx-get": address, "hx-trigger": "load", "hx-swap": "innerHTML"})[
            h.p(".dim")["Asking its pod …"]
        ],
    ]


PAGES = (
    Page(
        "/reservations/{id}",
        "Reservation",
        "reservations.read",
        reservation,
        machines=frozenset({MACHINE}),
        row="id",
    ),
)
