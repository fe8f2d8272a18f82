"""`python -m bench NAME [--json]`: run one bench and print its figures."""

import argparse
import json

from bench import claim, peers, transitions, wake

BENCHES = {
    "transitions": transitions.measure,
    "wake": wake.measure,
    "claim": claim.measure,
    "peers": peers.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    chosen = parser.parse_args()
    figures = BENCHES[chosen.bench]()
    if chosen.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:>22}  {value}")


main()
