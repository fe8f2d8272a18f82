"""`python -m bench NAME [--json]`: run one bench and print its figures."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from bench import api, claim, fleet, gateway, heartbeats, peers, transitions, wake

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
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--nodes", type=int, help="of the fleet; 10,000")
    parser.add_argument("--minutes", type=float, help="of the fleet; 10")
    chosen = parser.parse_args()
    given = {name: value for name in ("nodes", "minutes") if (value := getattr(chosen, name)) is not None}
    if given and chosen.bench != "fleet":
        parser.error("--nodes and --minutes are for the fleet")
    figures = BENCHES[chosen.bench](**given)
    if chosen.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:>22}  {value}")


main()
