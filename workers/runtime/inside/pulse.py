"""The sign of life of a loop."""

import time


class Pulse:
    """When a loop came round last."""

    def __init__(self) -> None:
        self.beat()

    def beat(self) -> None:
        self.at = time.monotonic()

    def silent_s(self) -> float:
        return time.monotonic() - self.at
