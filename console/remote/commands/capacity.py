"""`pgfleet types` and `pgfleet lines` through the API: counts, never the names of others."""

from datetime import datetime
from typing import Any

from rich.table import Table

from pgfleet.console.commands import lines as local_lines
from pgfleet.console.commands import types as local_types
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.remote.client import Api, api, path_of
from pgfleet.console.remote.commands.listing import known_type
from pgfleet.console.remote.rows import SHORT, timed
from pgfleet.console.remote.swapping import swapped
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.printable import minute


def list_types(*, as_json: bool) -> None:
    there = api()
    found = _types(there)
    if as_json:
        print_json(found)
    else:
        out().print(_type_table(found, there.now))


def _types(there: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = timed(there.get("/v1/gpu-types")["items"])
    return found


def _type_table(found: list[dict[str, Any]], now: datetime) -> Table:
    numbers = ("GPUS", "FREE", "PER NODE", "WAITING")
    made = table("TYPE", *numbers, "NEXT END", right=numbers)
    for row in found:
        name = row["gpu_type"] if row["is_active"] else f"{row['gpu_type']} (off)"
        gpus_of = (row["total_cluster_gpus"], row["free_gpus"]) if row["max_gpus"] else ("-", "-")
        cells = (name, *gpus_of, row["max_per_node"] or "-", row["waiting"], _in(row["next_free_at"], now))
        made.add_row(*map(cell, cells))
    return made


def _in(at: datetime | None, now: datetime) -> str:
    return "" if at is None else span((at - now).total_seconds())


TYPES = swapped("types", local_types.app, {"ls": list_types})


def list_lines(*, as_json: bool) -> None:
    there = api()
    names = ("gpu_type", "free_gpus", "total_cluster_gpus", "waiting", "next_free_at")
    found = [{name: row[name] for name in names} for row in _types(there)]
    if as_json:
        print_json({"lines": found})
        return
    numbers = ("FREE", "OF", "WAITING")
    made = table("TYPE", *numbers, "NEXT END", right=numbers)
    for row in found:
        counted = (row["gpu_type"], row["free_gpus"], row["total_cluster_gpus"], row["waiting"])
        made.add_row(*map(cell, (*counted, _in(row["next_free_at"], there.now))))
    out().print(made)


def show_line(given: str, *, as_json: bool) -> None:
    there = api()
    name = known_type(there, given)
    seen = timed(there.get(path_of("lines", name)))
    if as_json:
        print_json(seen["front"])
    elif seen["front"]:
        out().print(_front(seen["front"], there.now))
    else:
        err().print(f"Nobody waits for {name}.")


def _front(found: list[dict[str, Any]], now: datetime) -> Table:
    made = table("", "ID", "WANTS", "STARTS", "WHY", right=("",), fold=("STARTS",))
    for row in found:
        wants = f"{row['nodes']} nodes of {row['gpus']}" if row["nodes"] > 1 else row["gpus"]
        known = "yours" if row["is_mine"] else ""
        which = (row["reservation_id"] or "")[:SHORT] or known
        made.add_row(*map(cell, (row["position"], which, wants, _starts(row, now), row["reason_code"])))
    return made


def _starts(row: dict[str, Any], now: datetime) -> str:
    if row["eta"] is None:
        return "nobody knows"
    at = f"{minute(row['eta'])}, in {_in(row['eta'], now)}"
    return f"{at}, promised" if row["eta_is_promised"] else f"about {at}"


LINES = swapped("lines", local_lines.app, {"ls": list_lines, "show": show_line})
