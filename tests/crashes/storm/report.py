"""What a storm has come to, as a section of RESULTS.md: a row a kind."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

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


def written(report: Report) -> str:
    return "\n".join([*_lines(report), ""])


def _lines(report: Report) -> Iterator[str]:
    crew, conn = report.crew, report.world.conn
    conn.execute("truncate public.storm_kills")
    with conn.cursor() as cursor, cursor.copy("copy public.storm_kills (who, kind, at) from stdin") as copy:
        for kill in crew.kills:
            copy.write_row(
                (
                    kill.who,
                    kill.kind,
                    datetime.fromtimestamp(kill.at, UTC),
                )
            )
    conn.execute("analyze public.storm_kills, public.storm_claims")
    again = {row["kind"]: row for row in ask(conn, SQL["again"])}
    rows = {row["kind"]: row["rows"] for row in ask(conn, SQL["rows"])} | {"api": len(report.world.promised)}
    at_points = Counter(kill.kind for kill in crew.kills if kill.place)
    places = {
        kind: len({kill.place for kill in crew.kills if kill.kind == kind and kill.place}) for kind in crew.shares
    }
    yield f"## {len(crew.kills):,} deaths: seed {report.seed} at {commit()}, {time.strftime('%Y-%m-%d')}, {report.took_s / 60:.0f} minutes"
    yield ""
    yield "| kind | SIGKILLs | at labelled points (of so many) | at random | messages in hand at a death | rows looked at | run again, half within | at the latest | of those under fire, too |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind in crew.shares:
        found = again.get(kind)
        times = (
            ("-",) * 3
            if found is None or found["longest_s"] is None
            else tuple(f"{found[name]:.2f} s" for name in ("half_s", "longest_s", "longest_of_all_s"))
        )
        cells = (
            kind,
            crew.died[kind],
            f"{at_points[kind]} ({places[kind]})",
            crew.died[kind] - at_points[kind],
            found["in_hand"] if found else "-",
            rows[kind],
            *times,
        )
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    wrong = report.wrong.splitlines()
    counted = {word: sum(line.startswith(starts) for line in wrong) for word, starts in WORDS.items()}
    yield f"Lost: {counted['lost']}. Doubled: {counted['doubled']}. Orphaned: {counted['orphaned']}. A lease was {report.lease_s} s: the limit is {report.lease_s + 1} s."
    if report.wrong:
        yield from ("", "What did not hold:", "", "```", *wrong[:60], "```")
    if crew.odd:
        yield ""
        yield f"Processes that ended by themselves: {dict(Counter(crew.odd))}."
