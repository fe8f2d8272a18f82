"""`python -m bench NAME [--json]`: run one bench and print its figures."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from bench import api, claim, fleet, gateway, heartbeats, peers, steady, transitions, wake
from bench.goals import growth, table
from bench.sizing import million
from bench.sizing import page as sizing

BENCHES: dict[str, Callable[..., dict[str, Any]]] = {
    "transitions": transitions.measure,
    "wake": wake.measure,
    "claim": claim.measure,
    "peers": peers.measure,
    "heartbeats": heartbeats.measure,
    "heartbeats-memory": heartbeats.memory,
    "gateway": gateway.measure,
    "api": api.measure,
    "fleet": fleet.measure,
    "steady": steady.measure,
    "sizing": sizing.measure,
    "million": million.measure,
    "growth": growth.measure,
    "goals": table.measure,
}

# Whose each option is.
OPTIONS = {
    "nodes": ("fleet",),
    "minutes": ("fleet", "steady"),
    "rate": ("steady",),
    "write": ("sizing", "million", "goals", "peers", "steady"),
    "number": ("peers",),
    "ids": ("heartbeats",),
    "large": ("goals",),
    "most": ("growth",),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--nodes", type=int, help="of the fleet; 10,000")
    parser.add_argument("--minutes", type=float, help="of the fleet, 10; of steady, 60")
    parser.add_argument("--rate", type=int, help="of steady: heartbeats a second; 5,000")
    parser.add_argument(
        "--write",
        action="store_true",
        default=None,
        help="of sizing, million, goals, peers and steady: into their pages",
    )
    parser.add_argument("--number", type=int, help="of peers: how many jobs each does; 20,000")
    parser.add_argument("--large", action="store_true", default=None, help="of the goals: those that take an hour")
    parser.add_argument("--most", type=int, help="of growth: how many messages wait; 10,000,000")
    parser.add_argument("--ids", type=int, help="of heartbeats: how many were counted before; 1,000,000")
    chosen = parser.parse_args()
    given = {name: value for name in OPTIONS if (value := getattr(chosen, name)) is not None}
    strange = [f"--{name}" for name in given if chosen.bench not in OPTIONS[name]]
    if strange:
        parser.error(f"{' and '.join(strange)}: not of this bench")
    figures = BENCHES[chosen.bench](**given)
    if chosen.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:>22}  {value}")


main()
