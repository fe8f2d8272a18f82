"""What was measured as two tables: all ways in which a server goes away, and the scenarios of the public comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recovery.crew import Outcome
from worlds.fleet import REPOSITORY

WRITTEN, PAGE = REPOSITORY / "build" / "recovery.md", REPOSITORY / "bench" / "README.md"
Row = tuple[str, ...]
BEGIN, END = "<!-- Recovery: written by `make recovery-test WRITE=1` -->\n", "<!-- The end of recovery -->\n"
WAYS = (
    "what happens",
    "lost",
    "doubled",
    "orphaned",
    "messages run again after (s)",
    "messages/s meanwhile",
    "undisturbed",
    "an idle worker wakes up in (ms)",
)
SCENARIOS = (
    "scenario",
    "messages/s before",
    "meanwhile",
    "after",
    "99 of 100 within (ms), before",
    "meanwhile and after",
    "dead rows before",
    "at its end",
)


@dataclass(frozen=True)
class Measured:
    """A way with what came of it; `again_s` is the longest standstill where work goes on."""

    name: str
    outcome: Outcome
    again_s: float
    meanwhile_per_s: float
    undisturbed_per_s: float
    wake_up_ms: float
    goes_on: bool = False

    def row(self) -> tuple[str, ...]:
        found = self.outcome
        again = f"{'never still for ' if self.goes_on else ''}{self.again_s:.1f}"
        return (
            self.name,
            *(str(len(each)) for each in (found.lost, found.doubled, found.orphaned)),
            again,
            f"{self.meanwhile_per_s:.1f}",
            f"{self.undisturbed_per_s:.1f}",
            f"{self.wake_up_ms:.0f}",
        )


def table(titles: Row, rows: Sequence[Row]) -> Iterator[str]:
    return (f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows))


def lines(ways: Sequence[Row], scenarios: Sequence[Row]) -> list[str]:
    found = list(table(WAYS, sorted(ways)))
    return [*found, "", *table(SCENARIOS, sorted(scenarios))] if scenarios else found


def write_into_page(written: Sequence[str]) -> None:
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE} has no {BEGIN}"
    assert end, f"{PAGE} has no {END}"
    PAGE.write_text(before + BEGIN + "\n".join(written) + "\n" + END + after, encoding="utf-8")
