"""Which dead letters a command is about."""

from typing import Annotated

import typer

from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import contracts, queues
from pgfleet.schema.nearest import meant
from pgfleet.schema.replay.letters import Filters

Kind = Annotated[
    str | None,
    typer.Option("--kind", "--queue", metavar="KIND", help="Only of this kind, by its name or that of its queue."),
]
Verdict = Annotated[
    str | None,
    typer.Option("--verdict", metavar="failure|rejection", help="Only failures (ours), or rejections (senders')."),
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only those whose reason has this in it.")]
RowId = Annotated[str | None, typer.Option("--row", metavar="ID", help="Only about this, by the beginning of its id.")]
VERDICTS = ("failure", "rejection")


def filters_of(
    kind: str | None, verdict: str | None, reason: str | None, row: str | None, *, answered_too: bool = False
) -> Filters:
    """Raises Refusal: no such kind, or verdict."""
    if verdict is not None and verdict.removesuffix("s") not in VERDICTS:
        raise Refusal(f"--verdict {verdict}: give failure or rejection.")
    given = None if verdict is None else verdict.removesuffix("s")
    return Filters(_queue(kind), given, reason, row, answered_too=answered_too)


def _queue(kind: str | None) -> str | None:
    if kind is None or kind in queues():
        return kind
    if kind not in contracts():
        raise Refusal(f"There is no kind {kind!r}. {meant(kind, contracts())}")
    return contracts()[kind].queue
