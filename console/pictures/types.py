"""What `pgfleet types` shows: the table of GPU types."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pgfleet.console.pictures.parts import cell, table
from pgfleet.producers.submit.wording import span
from pgfleet.schema.reads.place import Line


def type_table(known: Mapping[str, Mapping[str, Any]], lines: dict[str, Line]) -> Table:
    numbers = ("GPUS", "FREE", "PER NODE", "WAITING")
    notes = {name: text for name, row in known.items() if (text := _said(row, lines[name]))}
    made = table("TYPE", *numbers, "NEXT END", *(("",) if notes else ()), right=numbers, fold=("",))
    for name, row in known.items():
        line = lines[name]
        ends = "" if line.next_end is None else span((line.next_end - line.now).total_seconds())
        gpus_of = (line.total, line.free) if row["max_gpus"] else ("-", "-")
        cells = (name if line.is_active else f"{name} (off)", *gpus_of, row["max_per_node"] or "-", line.number)
        told = (notes.get(name, ""),) if notes else ()
        made.add_row(*map(cell, (*cells, ends, *told)))
    return made


def _said(row: Mapping[str, Any], line: Line) -> str:
    follows = "follows its nodes" if row["follows_nodes"] else None
    return "; ".join(text for text in (follows, note(line)) if text)


def note(line: Line) -> str | None:
    """More held than there are; what is wrong with its nodes, or how old what is known of them is."""
    if line.held > line.total:
        return f"{line.held} are held: nobody gets one until {line.held - line.total} are given back"
    room = line.room
    if not (line.total or room.free):
        return None
    if not room.is_seen:
        return room.doubt if room.seen_ago_s is not None else None
    return room.why_none or "; ".join(room.told_problems) or None
