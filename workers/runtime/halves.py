"""How what fails alone is found in a batch: by halving it."""

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_halves(batch: list[T], attempt: Callable[[list[T]], R | Exception]) -> Iterator[tuple[list[T], R | Exception]]:
    """What an attempt on a batch comes to; of one that fails, what attempts on its halves come to.

    `attempt` returns the exceptions that may be about a part of its batch, and raises all others. One that is yielded
    is about the one thing that it comes with.
    """
    result = attempt(batch)
    if isinstance(result, Exception) and len(batch) > 1:
        middle = len(batch) // 2
        yield from in_halves(batch[:middle], attempt)
        yield from in_halves(batch[middle:], attempt)
    else:
        yield batch, result
