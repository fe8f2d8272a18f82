"""The root of the errors that a person can act on: shown as text, without a traceback."""


class FleetError(Exception):
    """Something that whoever runs the program can put right; the message says how."""
