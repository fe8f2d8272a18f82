"""What a storm has come to, as a section of RESULTS.md: a row a kind."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crashes.storm.crew import Crew
from hunt.run import commit
from hunt.world import World
from pgfleet.schema.rows.named import ask, named

SQL = named("crashes.storm")
# By the first words of what does not hold (invariants.py): lost, done twice, left over.
WORDS = {"lost": ("I1", "I4", "I6"), "doubled": ("I2",), "orphaned": ("I12", "I11")}


@dataclass(frozen=True)
class Report:
    world: World
    crew: Crew
    seed: int
    lease_s: float
    took_s: float
    wrong: str


HEAD = (
    "kind",
    "SIGKILLs",
    "at labelled points",
    "of so many",
    "at random",
    "rows looked at",
    "in hand at a death",
    "due again at the latest",
    "run again: half within",
    "at the latest",
    "under fire",
)


def written(report: Report) -> str:
    """The section; what the kills were is in the database then."""
    return "\n".join([*_lines(report), ""])


def _lines(report: Report) -> Iterator[str]:
    crew = report.crew
    _note(report)
    day, minutes = time.strftime("%Y-%m-%d"), f"{report.took_s / 60:.0f}"
    yield f"## {len(crew.kills):,} deaths: seed {report.seed} at {commit()}, {day}, {minutes} minutes"
    yield ""
    yield _row(HEAD)
    yield _row(["---"] * len(HEAD))
    yield from map(_row, _cells(report))
    yield ""
    wrong = report.wrong.splitlines()
    counted = {word: sum(line.startswith(starts) for line in wrong) for word, starts in WORDS.items()}
    said = ", ".join(f"{number} {word}" for word, number in counted.items())
    yield f"{said.capitalize()}. A lease was {report.lease_s:g} s, so what was in hand may be due again after that."
    if wrong:
        yield from ("", "What did not hold:", "", "```", *wrong[:60], "```")
    if crew.odd:
        yield from ("", f"Processes that ended by themselves: {dict(Counter(crew.odd))}.")


def _note(report: Report) -> None:
    conn = report.world.conn
    conn.execute("truncate public.storm_kills")
    with conn.cursor() as cursor, cursor.copy("copy public.storm_kills (who, kind, at) from stdin") as copy:
        for kill in report.crew.kills:
            copy.write_row((kill.who, kill.kind, datetime.fromtimestamp(kill.at, UTC)))
    conn.execute("analyze public.storm_kills, public.storm_claims")


def _cells(report: Report) -> Iterator[list[Any]]:
    crew, conn = report.crew, report.world.conn
    again: dict[str, Any] = {row["kind"]: row for row in ask(conn, SQL["again"])}
    rows = {row["kind"]: row["rows"] for row in ask(conn, SQL["rows"])} | {"api": len(report.world.promised)}
    for kind in crew.shares:
        places = [kill.place for kill in crew.kills if kill.kind == kind and kill.place]
        found: dict[str, Any] = again.get(kind, {})
        times = [_seconds(found.get(name)) for name in ("due_s", "half_s", "longest_s", "longest_of_all_s")]
        at_random = crew.died[kind] - len(places)
        in_hand = found.get("in_hand", 0)
        yield [kind, crew.died[kind], len(places), len(set(places)), at_random, rows[kind], in_hand, *times]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
