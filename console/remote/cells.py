"""`pgfleet cells`: all fleets that somebody is logged in to, side by side.

Each is asked once with its own key, and all at the same time: one that does not answer is waited for for ten seconds.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.table import Table

from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.remote import credentials
from pgfleet.console.remote.choosing import api_url, checked
from pgfleet.console.remote.client import Api, usable
from pgfleet.console.remote.credentials import Login
from pgfleet.console.remote.rows import timed
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import EXIT_FAILED, err, out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable

OPERATORS = ("DEVOPS", "ADMIN")

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """A fleet as its API tells of it; `trouble` is why it does not, `queues` is for operators."""

    url: str
    name: str
    user: str
    role: str = ""
    types: Sequence[Item] = field(default_factory=list)
    queues: Sequence[Item] = field(default_factory=list)
    trouble: str | None = None


@example("pgfleet cells")
def cells(*, as_json: AsJson = False) -> None:
    """Show all fleets that you are logged in to, side by side: GPUs and who waits; to operators also their queues.

    `pgfleet login URL` adds one. Other commands use the one with the star; PGFLEET_URL=URL before a command chooses
    another, with the key that is kept for it. It ends with 1 where one does not answer.
    """
    logins = credentials.read().logins
    if not logins:
        raise FleetError("You are logged in to no API: pgfleet login URL.")
    used = api_url()
    with ThreadPoolExecutor(len(logins)) as threads:
        found = list(threads.map(lambda each: _look(*each), sorted(logins.items())))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _show(found, used)
    if any(each.trouble for each in found):
        raise typer.Exit(EXIT_FAILED)


def _look(url: str, login: Login) -> Cell:
    """What there is now, or why that is not known."""
    host = urlsplit(url).netloc
    try:
        there = Api(checked(url), usable(login.key), asked_once=True)
        me = there.me
        types = timed(there.get("/v1/gpu-types")["items"])
        queues = there.get("/v1/queues")["items"] if me["role"] in OPERATORS else []
        return Cell(url, str(me.get("fleet") or host), there.username, str(me["role"]), types, queues)
    except FleetError as error:
        return Cell(url, host, login.username, trouble=str(error))
    except TypeError:
        return Cell(url, host, login.username, trouble=f"{url} answers otherwise than this version of pgfleet expects.")


def _show(found: Sequence[Cell], used: str | None) -> None:
    out().print(_gpus(found, used))
    if any(each.queues for each in found):
        out().print()
        out().print(_queues(found))
    for each in found:
        if each.trouble:
            err().print(f"{printable(each.name)}: {printable(each.trouble)}", style="red", soft_wrap=True)


def _gpus(found: Sequence[Cell], used: str | None) -> Table:
    numbers = ("FREE", "OF", "WAITING")
    made = table("", "FLEET", "USER", "TYPE", *numbers, "URL", right=numbers)
    for each in found:
        named = ("*" if each.url == used else "", each.name, each.user)
        rows = [(_type(row), row["free_gpus"], row["total_cluster_gpus"], row["waiting"]) for row in _shown(each)]
        for row in rows or [("does not answer" if each.trouble else "no GPUs", "", "", "")]:
            made.add_row(*map(cell, (*named, *row, each.url)))
    return made


def _type(row: Item) -> str:
    return str(row["gpu_type"]) if row["is_active"] else f"{row['gpu_type']} (off)"


def _shown(of: Cell) -> list[Item]:
    """Types of which there are GPUs, or for which somebody waits."""
    return [row for row in of.types if row["total_cluster_gpus"] or row["waiting"]]


def _queues(found: Sequence[Cell]) -> Table:
    numbers = ("READY", "OLDEST READY", "IN HAND", "DEAD LETTERS")
    made = table("FLEET", *numbers, "PAUSED", right=numbers)
    for each in found:
        if each.queues:
            ready, in_hand, dead = (sum(row[name] for row in each.queues) for name in ("ready", "in_hand", "dead"))
            oldest_s = max((row["oldest_ready_s"] or 0 for row in each.queues), default=0)
            paused = ", ".join(str(row["queue"]) for row in each.queues if row["paused"])
            cells_of = (each.name, ready, span(oldest_s) if oldest_s else "", in_hand)
            made.add_row(*map(cell, cells_of), cell(dead, "red" if dead else ""), cell(paused, "yellow"))
    return made
