"""What every picture is made of: cells, tables, facts, titled blocks, ages."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from pgfleet.producers.submit.wording import span
from pgfleet.schema.printable import plural, printable

# What a column that folds needs to be readable, and what is between two columns.
FOLDED = 30
BETWEEN = 2


def cell(text: object, style: str = "") -> Text:
    """One line; empty for None. What others have written can't move the cursor or break the line."""
    return Text(printable(text), style)


class Fitting(Table):
    """A table that stands upright where the terminal is too narrow for it: nothing is cut, and no column goes."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._needs() <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._upright()

    def _needs(self) -> int:
        """The fewest letters in a line: a column that folds can do with a few words."""
        widths = []
        for column in self.columns:
            widest = max(cell_len(str(each)) for each in (column.header, *column.cells))
            widths.append(widest if column.no_wrap else min(widest, FOLDED))
        return sum(widths) + BETWEEN * (len(widths) - 1)

    def _upright(self) -> Iterator[Text | Table]:
        """Each row as lines of a heading and a value, without those that are empty."""
        headings = [str(column.header) for column in self.columns]
        for number, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if number:
                yield Text()
            yield facts((heading, value) for heading, value in zip(headings, row, strict=True) if str(value))


def table(*headings: str, right: Iterable[str] = (), fold: Iterable[str] = ()) -> Table:
    """A table without lines. On a narrow terminal `fold` goes on in a second line; on a narrower one it is upright."""
    made, numbers, folded = Fitting(box=None, pad_edge=False, header_style="bold"), set(right), set(fold)
    for heading in headings:
        made.add_column(
            heading,
            no_wrap=heading not in folded,
            overflow="fold",
            justify="right" if heading in numbers else "left",
        )
    return made


def _grid() -> Table:
    """Its first column is never broken."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    return grid


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """The head of a picture of one thing: a name and what is known, line by line."""
    grid = _grid()
    for name, known in pairs:
        grid.add_row(Text(name, style="dim"), known if isinstance(known, Text) else cell(known))
    return grid


def dated(rows: Iterable[tuple[datetime, *tuple[object, ...]]], form: str = "%m-%d %H:%M:%S") -> Table:
    """What happened, each line with its time first."""
    grid = _grid()
    for at, *known in rows:
        cells = (text if isinstance(text, Text) else cell(text) for text in known)
        grid.add_row(Text(f"{at:{form}}", style="dim"), *cells)
    return grid


def block(title: str, *contents: Text | Table) -> list[Text | Table]:
    """A part of a picture under its title, after an empty line."""
    return [Text(), Text(title, style="bold"), *contents]


def counts(noun: str, numbers: Mapping[str, int], styles: Mapping[str, str]) -> Text:
    """`3 nodes: 1 OFFLINE, 2 ACTIVE`."""
    total = sum(numbers.values())
    each = (styled(name, styles, f"{number} {name}") for name, number in numbers.items() if number)
    return Text.assemble(f"{plural(total, noun)}: ", Text(", ").join(each))


def styled(name: str | None, styles: Mapping[str, str], shown: str | None = None) -> Text:
    """A state in its colour."""
    return cell(shown or name, styles.get(name or "", ""))


def seconds(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else (now - since).total_seconds()


def age(passed_s: float | None) -> str:
    """`3 min ago`."""
    return "never" if passed_s is None else f"{span(passed_s)} ago"


def moment(at: datetime | None, now: datetime, never: str = "never") -> str:
    """`2026-11-28 14:03:00, 3 min ago`."""
    return never if at is None else f"{at:%Y-%m-%d %H:%M:%S}, {age(seconds(at, now))}"
