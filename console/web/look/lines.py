"""Two texts, line by line: what goes, what comes, and some lines around it; in a bounded time, whatever they hold."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache

import htpy as h

from pgfleet.console.web.look.words import number

AROUND = 3
# Beyond the lines that both begin and end with. What differs in more than that is not compared line by line.
MOST_LINES = 1_000
Marked = tuple[str, str]
SIGNS = {"added": "+", "removed": "-", "same": " ", "passed": "…"}


def compared(before: str, after: str) -> h.Element:
    """What would change, from the first to the second."""
    lines = differing(before, after)
    added, removed = (sum(1 for kind, _ in lines if kind == each) for each in ("added", "removed"))
    return h.div[
        h.p(".dim")[f"{number(added, 'line')} added, {number(removed)} removed"],
        h.pre(".diff", tabindex="0", aria_label="What differs")[
            (h.span(class_=kind)[f"{SIGNS[kind]} {line}"] for kind, line in lines)
        ],
    ]


@lru_cache(maxsize=32)
def differing(before: str, after: str) -> tuple[Marked, ...]:
    """Lines as added, removed, same, or passed over."""
    a, b = before.splitlines(), after.splitlines()
    first = _shared(a, b)
    last = _shared(a[first:][::-1], b[first:][::-1])
    left, right = a[first : len(a) - last], b[first : len(b) - last]
    return (
        *_ending(a[:first]),
        *_between(left, right),
        *_beginning(a[len(a) - last :]),
    )


def _shared(a: list[str], b: list[str]) -> int:
    """How many lines they begin with that are the same."""
    return next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _ending(lines: list[str]) -> Iterator[Marked]:
    yield from _passed(len(lines) - AROUND)
    yield from (("same", line) for line in lines[-AROUND:])


def _beginning(lines: list[str]) -> Iterator[Marked]:
    yield from (("same", line) for line in lines[:AROUND])
    yield from _passed(len(lines) - AROUND)


def _passed(lines: int) -> Iterator[Marked]:
    if lines > 0:
        yield "passed", f"{number(lines, 'line')} the same"


def _between(left: list[str], right: list[str]) -> Iterator[Marked]:
    if max(len(left), len(right)) > MOST_LINES:
        yield "passed", f"{number(len(left), 'line')} become {number(len(right), 'line')}: too many to compare"
        return
    for does, a, until_a, b, until_b in SequenceMatcher(None, left, right).get_opcodes():
        if does == "equal":
            same = left[a:until_a]
            if len(same) > 2 * AROUND:
                yield from _beginning(same[:AROUND])
                yield from _passed(len(same) - 2 * AROUND)
                yield from _ending(same[-AROUND:])
            else:
                yield from (("same", line) for line in same)
        else:
            yield from (("removed", line) for line in left[a:until_a])
            yield from (("added", line) for line in right[b:until_b])
