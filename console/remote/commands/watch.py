"""`pgfleet watch` through the API: the stream of its events says when there is something to look at."""

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.live import Live

from pgfleet.console.commands import watch as local
from pgfleet.console.pictures.timeline import head, listed
from pgfleet.console.remote import rows
from pgfleet.console.remote.client import Api, api, events, path_of
from pgfleet.console.remote.following import one, timeline
from pgfleet.console.remote.problems import Away
from pgfleet.console.remote.swapping import like
from pgfleet.producers.reading.timeline import Timeline
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.printable import printable
from pgfleet.schema.reservation import FINAL

# Of one whose state is final nothing comes but the end of its pod, which is no move.
END_S = 1.0
TRIES = 5


@like(local.watch)
def watch(given: str, *, user: str | None, once: bool, as_json: bool) -> None:
    there = api()
    row_id = one(there, given, user)["reservation_id"]
    if once:
        seen = timeline(there, row_id)
        if as_json:
            print_json(_as_json(seen))
        else:
            out().print(picture(seen, there))
    elif as_json:
        _follow_as_json(there, row_id)
    elif out().is_terminal:
        _follow_live(there, row_id)
    else:
        _follow_in_lines(there, row_id)


def picture(seen: dict[str, Any], there: Api) -> Group:
    row = rows.reservation(seen["reservation"])
    gang = tuple(rows.reservation(each) for each in seen["gang"])
    known = Timeline(there.now, row, rows.place(row), [], [], [], paused=seen["paused"], gang=gang)
    return Group(*head(known), *listed(_events(seen["past"]), _events(seen["coming"])))


def _events(moves: list[dict[str, Any]]) -> list[Any]:
    return [(each["at"], each["what"], each["why"] or "") for each in moves]


def _as_json(seen: dict[str, Any]) -> dict[str, Any]:
    return {**seen["reservation"], **{name: seen[name] for name in ("past", "coming", "paused", "gang")}}


def _follow_live(there: Api, row_id: str) -> None:
    with Live(console=out(), auto_refresh=False) as live:
        for seen in looks(there, row_id):
            live.update(picture(seen, there), refresh=True)


def _follow_in_lines(there: Api, row_id: str) -> None:
    printed = 0
    for seen in looks(there, row_id):
        moves = _events(seen["past"])
        for at, what, why in moves[printed:]:
            out().print(f"{at:%H:%M:%S} {printable(what)}: {printable(why)}")
        printed = len(moves)


def _follow_as_json(there: Api, row_id: str) -> None:
    printed: dict[str, Any] | None = None
    for seen in looks(there, row_id):
        if seen != printed:
            print_json(_as_json(seen))
            printed = seen


def looks(there: Api, row_id: str) -> Iterator[dict[str, Any]]:
    """The timeline at each event, until its state is final and its pod is gone."""
    seen = timeline(there, row_id)
    for seen in _at_events(there, row_id):
        yield seen
        if seen["reservation"]["status"] in FINAL:
            break
    while seen["reservation"]["reservation_ended"] is None:
        time.sleep(END_S)
        seen = timeline(there, row_id)
        yield seen


def _at_events(there: Api, row_id: str) -> Iterator[dict[str, Any]]:
    """A stream that is cut off goes on where it was, if it can be had again within a few tries."""
    last_id: str | None = None
    failed = 0
    while True:
        try:
            with there.stream(path_of("reservations", row_id, "events"), last_id) as lines:
                for event_id, _ in events(lines):
                    last_id, failed = event_id or last_id, 0
                    yield timeline(there, row_id)
            reason = f"The stream of {there.url} has ended."
        except Away as error:
            reason = str(error)
        failed += 1
        if failed > TRIES:
            raise Away(reason)
        err().print(f"{reason} Again in {failed} s.", style="dim", soft_wrap=True)
        time.sleep(failed)
