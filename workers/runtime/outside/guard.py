"""What a client of one dependency asks before it calls, and tells when it was not answered."""

import threading
import time
from collections.abc import Callable

from pgfleet.workers.runtime.outcomes import Calls, NotNowError
from pgfleet.workers.runtime.outside.breakers import Breakers


class Guard:
    """The breaker of one dependency, as its client sees it."""

    def __init__(self, dependency: str, breakers: Breakers | None, probe: Callable[[Calls], None]) -> None:
        """`probe` asks about nobody; it raises NotNowError where that is not answered either."""
        self.dependency = dependency
        self.breakers = breakers
        self.probe = probe
        self._asking = threading.Lock()
        # When nobody was asked about last, and all of it was answered; on the clock of this process.
        self._answered_at: dict[Calls, float] = {}

    def check(self, calls: Calls) -> None:
        """Raise NotNowError while these calls must not be made."""
        if self.breakers is not None:
            self.breakers.check(self.dependency, calls)

    def unanswered(self, error: NotNowError, *, surely: bool = False) -> NotNowError:
        """The error that a call ends with; the breaker is open if it is the dependency's.

        `surely`: what was answered says so itself, as with a refused key, or the request to wait.
        """
        if self.breakers is None:
            return error
        failed_at = time.monotonic()
        with self._asking:
            found = self.breakers.trouble(self.dependency, error.calls)
            if found is not None:
                return found
            about_nobody = error if surely else self._ask(error.calls, failed_at)
            if about_nobody is not None:
                self.breakers.open(about_nobody)
        return about_nobody or error

    def _ask(self, calls: Calls, failed_at: float) -> NotNowError | None:
        """What is in trouble, if it is more than one call: first whether anything is answered at all.

        What another thread was answered since this one's call is not asked again: all threads may have to wait here.
        """
        begun_at = time.monotonic()
        if self._answered_at.get(calls, 0.0) > failed_at:
            return None
        for group in dict.fromkeys((Calls.READ, calls)):
            try:
                self.probe(group)
            except NotNowError as error:
                return NotNowError(self.dependency, group, error.code, str(error), error.after_s)
        self._answered_at[calls] = begun_at
        return None
