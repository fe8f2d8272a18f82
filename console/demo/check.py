"""What the demo claims about its end, checked against the database and the sandbox."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pgfleet.console.demo.disks import wrong_disk
from pgfleet.console.demo.line import gangs, passed, unwarned
from pgfleet.console.demo.story import EXTENSION_S, HOUR_S, Planned, Story
from pgfleet.console.demo.users import wrong_seats, wrong_users
from pgfleet.console.demo.view import Scene
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.replay import letters
from pgfleet.schema.reservation import FINAL, Status
from pgfleet.schema.rows.row import Row

OBJECTS = ("pods", "services", "persistentvolumes", "persistentvolumeclaims")


def check(conn: Connection, box: Box, story: Story, scene: Scene) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
    """What contradicts each of the statements that have to be true, and numbers of the whole."""
    state, dead = box.state(), letters.listing(conn, letters.Filters(answered_too=True))
    left = {name: state["objects"].get(name, 0) for name in OBJECTS}
    held = {name: row["held_gpus"] for name, row in scene.types.items() if row["held_gpus"]}
    gang, backfill, warning = ([*found(story, scene)] for found in (gangs, passed, unwarned))
    claims = {
        "every reservation is over, and torn down": _not_over(story, scene),
        "each ended as it should": _wrong_fates(story, scene),
        "every history is without a gap": _gaps(story, scene),
        "a gang waited until all its nodes were free, and started on all of them at once": gang,
        "a small reservation started ahead of the gang, on GPUs that the gang did not wait for": backfill,
        "who had a minute left was warned, once": warning,
        "no GPU is held": (f"{name}: {gpus}" for name, gpus in held.items()),
        "nothing is left in the cluster": (f"{n} {name}" for name, n in left.items() if n),
        "no pod was made twice": _doubles(story, scene, state),
        "eight seats are eight users' with an account, one left, one waits for a seat": wrong_users(conn),
        "seats, users and accounts agree on each cluster": wrong_seats(conn, box),
        "a disk was used twice, and has a completed snapshot of each use, and no volume": wrong_disk(conn, box),
        "what can't be understood is a dead letter, with the reason": _wrong_letters(dead),
    }
    numbers = {
        "submitted": len(story.planned),
        "final": dict(sorted(Counter(_end(one, scene) for one in story.planned).items())),
        "gangs": int(not gang),
        "backfilled": int(not backfill),
        "warned": int(not warning),
        "dead_letters": len(dead),
        "gpus_held": sum(held.values()),
        "objects_left": sum(left.values()),
        "seconds": round(scene.seconds, 1),
    }
    return {text: tuple(against) for text, against in claims.items()}, numbers


def _end(one: Planned, scene: Scene) -> str:
    row = scene.rows.get(one.reservation_id)
    return "missing" if row is None else str(row["status"])


def _not_over(story: Story, scene: Scene) -> Iterator[str]:
    for one, each in _nodes(story):
        row = scene.rows.get(each)
        if row is None:
            yield f"{_named(one)} does not exist"
        elif row["status"] not in FINAL or row["reservation_ended"] is None:
            yield f"{_named(one)} is {row['status']}: {row['current_detailed_status']}"


def _wrong_fates(story: Story, scene: Scene) -> Iterator[str]:
    for one, each in _nodes(story):
        moves = scene.history[each]
        last = (moves[-1]["from_status"], moves[-1]["to_status"]) if moves else None
        if last != one.fate:
            yield f"{_named(one)} went {last}, not {one.fate}: {moves[-1]['reason'] if moves else ''}"
    row = scene.rows.get(story.extended.reservation_id)
    if row is None or row["duration_hours"] * HOUR_S < story.extended.seconds + EXTENSION_S - 0.01:
        yield f"{_named(story.extended)} was not extended"
    row = scene.rows.get(story.broken.reservation_id)
    if row is None or "Image" not in (row["failure_reason"] or ""):
        yield f"{_named(story.broken)} does not say that its image is missing"


def _gaps(story: Story, scene: Scene) -> Iterator[str]:
    """A history goes from (new) to the status of the row, and each move begins where the one before it ended."""
    for one, each in _nodes(story):
        row, moves = scene.rows.get(each), scene.history[each]
        states = ["(new)", *(move["to_status"] for move in moves)]
        if [move["from_status"] for move in moves] != states[:-1] or row is None or states[-1] != row["status"]:
            yield f"{_named(one)}: {' '.join(states)}, its row says {row['status'] if row else 'nothing'}"


def _doubles(story: Story, scene: Scene, state: dict[str, Any]) -> Iterator[str]:
    """There were as many pods as admissions, and a name came again only with who was let in again.

    On a busy machine a pod may find no node in its time: its reservation goes back to the line, as it should.
    """
    each = [sum(move["to_status"] == Status.PREPARING for move in scene.history[node]) for _, node in _nodes(story)]
    admitted, again = sum(each), sum(times - 1 for times in each if times)
    if state["double_creations"] > again or state["created_pods"] > admitted:
        yield f"{state['created_pods']} pods for {admitted} admissions, {state['double_creations']} twice"


def _nodes(story: Story) -> Iterator[tuple[Planned, str]]:
    """Each that was asked for, with the id of each of its nodes."""
    return ((one, each) for one in story.planned for each in one.ids)


def _wrong_letters(dead: list[Row]) -> Iterator[str]:
    if not any("gpu_type" in letter["reason"] and "reservation_id" in letter["reason"] for letter in dead):
        yield "the malformed message is not there"
    for letter in dead:
        if letter["message"].get("reservation_id") != "not a uuid":
            yield f"{letter['message'].get('action')}: {letter['reason']}"


def _named(one: Planned) -> str:
    return f"{one.reservation_id[:8]} ({one.what or one.wants})"
