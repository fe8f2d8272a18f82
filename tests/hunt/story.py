"""A plan as people read it: numbered plain sentences with times."""

from collections.abc import Iterator, Sequence

from hunt.acts import ACTS
from hunt.known import Step


def story(steps: Sequence[Step]) -> Iterator[str]:
    at_s = 0.0
    for number, step in enumerate(steps, 1):
        at_s += step.pause_s
        given = {name: _short(value) for name, value in step.given.items()}
        about = " ".join(str(given[name]) for name in ("reservation_id", "operation_id", "disk_name") if name in given)
        said = ACTS[step.what].say.format(**given)
        yield f"{number:3}. {at_s:5.1f} s: {said}{f' ({about})' if about else ''}."


def _short(value: object) -> object:
    """Ids by their first letters."""
    return value[:8] if isinstance(value, str) and value.count("-") == 4 else value
