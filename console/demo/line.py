"""What the demo shows of a line: a gang that starts whole, who passes it without making it wait, and a warning."""

from collections.abc import Iterator
from datetime import datetime

from pgfleet.console.demo.story import Story
from pgfleet.console.demo.view import Scene, is_move
from pgfleet.schema.reservation import Status


def gangs(story: Story, scene: Scene) -> Iterator[str]:
    """What is wrong with gangs: each should have waited, and then have started on all of its nodes at once."""
    for gang in (one for one in story.planned if one.nodes > 1):
        starts = {_at(scene, each, Status.ACTIVE) for each in gang.ids}
        if None in starts or len(starts) != 1:
            yield f"its nodes started at {', '.join(sorted(map(str, starts)))}"
        if _at(scene, gang.reservation_id, Status.QUEUED) is None:
            yield f"{gang.reservation_id[:8]} did not wait"


def passed(story: Story, scene: Scene) -> Iterator[str]:
    """What is wrong with who should have come after the gang, started before it, and still run when it started."""
    gang, small = story.line.gang, story.line.small
    came, admitted, ended = (_at(scene, small.reservation_id, *states) for states in _STATES)
    queued, starts = (_at(scene, gang.reservation_id, state) for state in (Status.QUEUED, Status.ACTIVE))
    times = (queued, came, admitted, starts, ended)
    if None in times or sorted(filter(None, times)) != [*times]:
        yield ", ".join(f"{what} at {at}" for what, at in zip(_TOLD, times, strict=True))


def unwarned(story: Story, scene: Scene) -> Iterator[str]:
    """Who should have been warned, once, before the end."""
    entries = scene.history[story.warned.reservation_id]
    warnings = [entry["reason"] for entry in entries if not is_move(entry)]
    if len(warnings) != 1 or "Expires in 1 minute" not in warnings[0]:
        yield f"{story.warned.reservation_id[:8]} was told {warnings}"


_STATES = ((Status.PENDING,), (Status.PREPARING,), (Status.CANCELLED, Status.EXPIRED))
_TOLD = ("the gang waited", "the small one came", "it was admitted", "the gang started", "the small one ended")


def _at(scene: Scene, reservation_id: str, *states: str) -> datetime | None:
    """When it first came to one of these states."""
    moves = filter(is_move, scene.history[reservation_id])
    return next((move["at"] for move in moves if move["to_status"] in states), None)
