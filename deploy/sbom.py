"""Writes what is installed beside this Python as a bill of materials (CycloneDX 1.6): `python deploy/sbom.py`."""  # noqa: INP001  # a script

import json
import sys
from importlib.metadata import Distribution, distribution, distributions
from typing import Any

from licences import FINE, licence

PROGRAM = "pgfleet"


def name_of(package: Distribution) -> str:
    return package.metadata["Name"].lower().replace("_", "-").replace(".", "-")


def component(package: Distribution, kind: str) -> dict[str, Any]:
    """A package; its licence is an expression where it is known to be one."""
    name, said = name_of(package), licence(package)
    known = said in FINE or " " in said
    place = f"pkg:pypi/{name}@{package.version}"
    licences = {"licenses": [{"expression": said} if known else {"license": {"name": said}}]}
    return {"type": kind, "bom-ref": place, "name": name, "version": package.version, "purl": place, **licences}


def bill() -> dict[str, Any]:
    """The same text for the same packages: it has no time and no number of its own."""
    libraries = sorted((each for each in distributions() if name_of(each) != PROGRAM), key=name_of)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(distribution(PROGRAM), "application")},
        "components": [component(each, "library") for each in libraries],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    sys.stdout.write("\n")
