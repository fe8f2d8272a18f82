"""Where commands print: text of others is shown, and neither the terminal nor rich obeys it."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pgfleet.schema.printable import harmless


class Plain(Console):
    """Neither markup (`[bold]`, links) nor emoji codes, and no letter that would move the cursor or turn a line."""

    def __init__(self, *, stderr: bool, width: int | None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is printed passes here, live pictures and spinners, too; what rich itself says to it does not."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)
