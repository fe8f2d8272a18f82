"""The errors that say no: what was asked for is understood, and can't be done as things are."""

from schema.errors import FleetError


class Refusal(FleetError):
    """Not wrong usage: nothing of that name, answered already, too late. Commands end with 1 for it."""
