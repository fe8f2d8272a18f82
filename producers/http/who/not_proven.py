"""Why somebody's proof is none: the reasons may be shown, and hold nothing of what was brought."""

from pgfleet.schema.errors import FleetError


class NotProvenError(FleetError):
    """A proof that is not believed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class IssuerAwayError(NotProvenError):
    """Nothing is known against the proof: whoever would have to confirm it does not answer."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
