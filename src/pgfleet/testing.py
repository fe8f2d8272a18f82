"""A fixture for tests of programs that work with pgfleet: `from pgfleet.testing import fleet`, and pytest has it."""

from pgfleet.console.extras import advice

try:
    from pgfleet.console.testing.fixtures import fleet
    from pgfleet.console.testing.fleet import CameElsewhere, Fleet, TookTooLong, running
    from pgfleet.console.testing.server import server
except ModuleNotFoundError as error:
    lacking = error.name or ""
    raise ImportError(
        f"pgfleet.testing: {advice(lacking) or error}, or pip install 'pgfleet[testing]' for all"
    ) from None

__all__ = ["CameElsewhere", "Fleet", "TookTooLong", "fleet", "running", "server"]
