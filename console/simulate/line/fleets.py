"""Fleets as they might be: `h100=+16` or `h100=24` of GPUs, `h100=3x8` of nodes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgfleet.console.simulate.line.engine import Fleet
from pgfleet.console.simulate.line.past import History
from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable

MOST = 100_000
_GPUS = re.compile(r"(?P<type>[^=]+)=(?P<sign>[+-]?)(?P<number>\d{1,6})")
_NODES = re.compile(r"(?P<type>[^=]+)=(?P<count>\d{1,5})x(?P<gpus>\d{1,3})")


def changed(histories: Mapping[str, History], gpus: Iterable[str], nodes: Iterable[str]) -> dict[str, Fleet]:
    """The fleets of the types that are named.

    Raises:
        FleetError: a text is none of these, or names a type that there is not.
    """
    made: dict[str, Fleet] = {}
    for text in gpus:
        found = _read(_GPUS, text, "--gpus", "TYPE=+16, TYPE=-8 or TYPE=24", histories)
        history, number = histories[found["type"]], int(found["number"])
        total = {"+": history.fleet.total + number, "-": history.fleet.total - number}.get(found["sign"], number)
        made[found["type"]] = with_total(history, total)
    for text in nodes:
        found = _read(_NODES, text, "--nodes", "TYPE=3x8: three nodes of eight GPUs", histories)
        count, each = int(found["count"]), int(found["gpus"])
        named = {f"node-{number:05}": each for number in range(1, count + 1)}
        made[found["type"]] = _checked(Fleet(found["type"], count * each, named))
    return made


def types_named(texts: Iterable[str]) -> set[str]:
    return {text.partition("=")[0].strip().lower() for text in texts}


def with_total(history: History, total: int) -> Fleet:
    """So many GPUs: nodes of the type's size come, or go, the smallest first; of the last that goes a part may stay."""
    fleet = history.fleet
    if not fleet.nodes:
        return _checked(replace(fleet, total=total))
    nodes, more = dict(fleet.nodes), total - fleet.total
    while more > 0:
        nodes[f"new-{len(nodes):05}"] = min(more, history.per_node)
        more -= history.per_node
    for name in sorted(nodes, key=lambda name: (nodes[name], name)):
        if more >= 0:
            break
        taken = min(nodes[name], -more)
        nodes[name] -= taken
        more += taken
    zones = {name: fleet.zones.get(name) for name in nodes}
    return _checked(replace(fleet, total=total, nodes=nodes, zones=zones))


def _checked(fleet: Fleet) -> Fleet:
    if not 0 < fleet.total <= MOST:
        raise FleetError(f"{fleet.gpu_type} would have {fleet.total} GPUs: it takes 1 to {MOST}.")
    return fleet


def _read(form: re.Pattern[str], text: str, option: str, example: str, known: Mapping[str, History]) -> dict[str, str]:
    found = form.fullmatch(text.strip().lower())
    if found is None:
        raise FleetError(f"{option} takes {example}, not {printable(text)}.")
    if found["type"] not in known:
        raise FleetError(
            f"{option}: there is no GPU type {printable(found['type'])} that has GPUs. See `pgfleet types`."
        )
    return found.groupdict()
