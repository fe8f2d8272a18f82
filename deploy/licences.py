"""Lists the licences of all that the image installs, and ends with 1 where one is not known to be fine."""  # noqa: INP001  # a script

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution

# Licences that ask for a notice, or for the source of what they are for.
FINE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"),
    *("LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"),
}
# What packages write instead of the SPDX identifier.
WRITTEN = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def needed(name: str, extras: frozenset[str] = frozenset(), seen: set[tuple[str, str]] | None = None) -> set[str]:
    """The names of what is installed for a package and these extras of it, without itself."""
    # What else is here is for the list of what the image has, too, and there is no `packaging` there.
    from packaging.requirements import Requirement  # noqa: PLC0415

    seen = set() if seen is None else seen
    found: set[str] = set()
    for text in distribution(name).requires or ():
        wanted = Requirement(text)
        asked = [extra for extra in ("", *extras) if wanted.marker is None or wanted.marker.evaluate({"extra": extra})]
        key = (wanted.name.lower(), ",".join(sorted(wanted.extras)))
        if asked and key not in seen:
            seen.add(key)
            found |= {wanted.name, *needed(wanted.name, frozenset(wanted.extras), seen)}
    return found


def licence(package: Distribution) -> str:
    """As an SPDX expression, where the package says it in a way that is known."""
    said = package.metadata
    classifiers = [line.split(" :: ") for line in said.get_all("Classifier", [])]
    classified = [words[-1] for words in classifiers if words[0] == "License"]
    for text in (said.get("License-Expression"), *classified, said.get("License")):
        if text and len(text) < 80 and text != "OSI Approved":
            return WRITTEN.get(text, text)
    return "unknown"


def is_fine(expression: str) -> bool:
    """Whether all licences in it are, those of a choice, too."""
    return set(re.split(r"\s+(?:AND|OR)\s+", expression.replace("(", "").replace(")", ""))) <= FINE


def listed() -> Iterator[tuple[str, str, str]]:
    names = {name.lower().replace("_", "-") for name in needed("pgfleet", frozenset({"worker", "serve", "otel"}))}
    for name in sorted(names - {"pgfleet"}):
        package = distribution(name)
        yield name, package.version, licence(package)


def main() -> None:
    packages = list(listed())
    for name, version, said in packages:
        sys.stdout.write(f"{name:<25} {version:<16} {said}\n")
    others = [name for name, _, said in packages if not is_fine(said)]
    if others:
        sys.exit(f"Not known to be fine: {', '.join(others)}. Look at them, then name their licence in {__file__}.")


if __name__ == "__main__":
    main()
