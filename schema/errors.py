"""The errors that a person can act on: shown as text, without a traceback."""


class FleetError(Exception):
    """Something that whoever runs the program can put right; the message says how."""


class Refusal(FleetError):
    """What was asked for is understood, and can't be done as things are: commands end with 1 for it, not with 2."""
