"""What is not installed, and which extra of pgfleet brings it: read from what the package says that it requires."""

import re
from importlib.metadata import PackageNotFoundError, requires

# The smaller ones first: a package that several bring is named by the smallest.
EXTRAS = ("cli", "worker", "serve", "local", "testing", "otel")
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[(?P<parts>[\w,-]+)\])?.*extra == [\"'](?P<extra>[\w-]+)[\"']")
SANDBOX = "pgfleet.console.sandbox"


def advice(missing: str) -> str | None:
    """What to do about a module that is not there; None for one that no extra brings."""
    if missing.startswith(SANDBOX):
        return (
            "The sandbox is left out of this installation, as of the production image; `pgfleet up` and `pgfleet demo` "
            "need it.\nWhere pgfleet is installed from its repository: pip install 'pgfleet[local]'"
        )
    extra = extra_of(missing.partition(".")[0])
    return extra and f"{missing} is not installed: pip install 'pgfleet[{extra}]'"


def extra_of(module: str) -> str | None:
    """The smallest extra with a package of the module's name: `flask_cors` is in `flask-cors`."""
    name = module.replace("_", "-")
    named = {extra for package, extra in packages() if package == name or package.startswith(f"{name}-")}
    return next((extra for extra in EXTRAS if extra in named), None)


def packages() -> list[tuple[str, str]]:
    """Each package with its extra; `psycopg[pool]` is psycopg-pool."""
    try:
        found = [match for text in requires("pgfleet") or () if (match := REQUIREMENT.match(text))]
    except PackageNotFoundError:
        return []
    names = [(match["name"], part, match["extra"]) for match in found for part in (match["parts"] or "").split(",")]
    return [(f"{name}-{part}" if part else name, extra) for name, part, extra in names if name != "pgfleet"]
