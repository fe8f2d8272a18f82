"""`pgfleet logs`: what the pod of a reservation wrote last; while it runs, what it writes."""

import time
from collections.abc import Callable
from typing import Annotated

import typer

from pgfleet.console.commands.requests import Id
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.brake.pauses import pause_of
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import harmless
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import pod
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL, WAITING
from pgfleet.schema.rows.row import Row

LOOK_S = 0.2
# So long a worker may take for a first answer; then it is said that none comes.
SILENCE_S = 10.0


@example("pgfleet logs 3f2a9c1e -f")
def logs(
    given: Id,
    *,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until it ends.")] = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Show the last lines that a reservation's pod wrote: 200 of them, 16 KiB at most of one that has ended.

    Of one that runs, a worker reads them now; with -f it goes on, until Ctrl-C or its end.
    """
    with database() as conn:
        row = reads.resolve(conn, given, user or default_user())
        if row["status"] in FINAL:
            _show_kept(row, reads.logs(conn, row["reservation_id"]), as_json=as_json)
        elif row["status"] in WAITING:
            _say_why_nothing(row, as_json=as_json)
        elif as_json:
            texts: list[str] = []
            _read_along(conn, row, texts.append, following=False)
            print_json({"reservation_id": row["reservation_id"], "status": row["status"], "pod_logs": "".join(texts)})
        else:
            _read_along(conn, row, lambda text: out().out(harmless(text), end="", highlight=False), following=following)


def _show_kept(row: Row, kept: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "status": row["status"], "pod_logs": kept})
    elif kept:
        out().print(harmless(kept), soft_wrap=True)
    else:
        err().print("nothing is kept: its pod wrote nothing, or nobody could read it any more")


def _say_why_nothing(row: Row, *, as_json: bool) -> None:
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "status": row["status"], "pod_logs": None})
    else:
        err().print(f"it is {row['status']}: it has no pod yet; what that wrote last is kept when it ends")


def _read_along(conn: Connection, row: Row, show: Callable[[str], object], *, following: bool) -> None:
    """Chunk by chunk; without following, until there is no more.

    Raises:
        Refusal: it is not for who asks, or no worker answers.
    """
    number, begun = 0, time.monotonic()
    with pod.reading_along(conn, row["reservation_id"]) as request:
        while True:
            text, chunk, has_more, ended = pod.take(conn, request, number)
            if text is not None:
                number = chunk
                show(text)
            if ended is not None:
                if following:
                    err().print(f"no more: {ended}")
                return
            if number and not has_more and not following:
                return
            if not number and time.monotonic() - begun > SILENCE_S:
                raise Refusal(_silence(conn))
            if text is None:
                time.sleep(LOOK_S)


def _silence(conn: Connection) -> str:
    pause = pause_of(conn, "reservation")
    return "no worker has answered" + (
        "; is one running? `pgfleet worker reservation` starts one" if pause is None else f": {pause}"
    )
