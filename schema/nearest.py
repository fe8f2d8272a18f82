"""Which known name somebody may have meant who typed one that is not known."""

from collections.abc import Iterable
from difflib import SequenceMatcher

MOST = 2
# Less alike than this is another word, not a slip.
ALIKE = 0.55
# As alike as the nearest, for whoever has to choose.
CLOSE = 0.1
# Who types so much has not mistyped a name. To compare 200,000 characters takes seconds, which a stranger may send.
LONGEST = 100


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that this may be, nearest first; none where all are quite other words."""
    if len(name) > LONGEST:
        return []
    typed = name.lower()
    matcher = SequenceMatcher(b=typed)
    ranked = sorted((-_alike(typed, each.lower(), matcher), each) for each in known)[:MOST]
    return [each for score, each in ranked if -score >= max(ALIKE, -ranked[0][0] - CLOSE)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a or b?`, else `known are a, b, c`."""
    names = list(known)
    found = nearest(name, names)
    return f"did you mean {' or '.join(found)}?" if found else f"known are {', '.join(names) or 'none'}"


def meant(name: str, known: Iterable[str]) -> str:
    """`Did you mean a? Known are a, b.`, as sentences of their own."""
    names = list(known)
    found = " or ".join(nearest(name, names))
    return f"{f'Did you mean {found}? ' if found else ''}Known are {', '.join(names) or 'none'}."


def _alike(name: str, other: str, matcher: SequenceMatcher[str]) -> float:
    """From 0 to 1. `hours` is much like `duration_hours`: all its words are in it.

    What can't be ALIKE is known from its letters, at a tenth of the cost: a stranger may send a hundred thousand.
    """
    matcher.set_seq1(other)
    if _words(name) <= _words(other):
        return 0.9 + matcher.ratio() / 10
    if len(name) > 3 and name in other:
        return 0.8 + matcher.ratio() / 10
    return matcher.ratio() if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE else 0.0


def _words(name: str) -> set[str]:
    return {word.removesuffix("s") for word in name.replace("-", "_").split("_")}
