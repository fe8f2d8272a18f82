"""The small kind as dramatiq serves it, with an effect outside: a file for each row, called by its name."""

import os
import time
from pathlib import Path

from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.outcomes import Outcome
from pgfleet.workers.runtime.serve import serve
from worlds.small.kind import Do, Tools, View, small_kind, step


def step_with_effect(message: Do, turn: Turn[View, Tools]) -> Outcome:
    """Lasts for `n` ms. A file that is there is the same effect, and not made again."""
    turn.hold()
    time.sleep(message.n / 1000)
    turn.hold()
    (Path(os.environ["EFFECTS"]) / str(message.job_id)).touch()
    return step(message, turn)


actor = serve(small_kind(step=step_with_effect, effects=True))
