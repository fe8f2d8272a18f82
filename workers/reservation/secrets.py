"""What a user wrote into a command and its variables is kept out of what is told of the reservation.

People put tokens into both. A shell, a kubelet and an API server quote what they could not do, and what they say is in
reasons, histories and logs, which others read. The owner finds all of it in the last lines of the pod.
"""

import re
from dataclasses import replace
from typing import Any

from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Change,
    NeverError,
    NoPlaceError,
    NotNowError,
    Outcome,
    TryAgainError,
    Wait,
)
from pgfleet.workers.runtime.tickets import Step

HIDDEN = "***"
# What is shorter is a number or a word that stands in other texts, too.
SHORTEST_VALUE, SHORTEST_WORD = 6, 12
# Where others read it. What the pod wrote is its owner's, and names are what they are.
TOLD = frozenset(
    {"current_detailed_status", "failure_reason", "warning", "pod_lost", "held_by", "refusals", "jupyter_error"}
)
BETWEEN_WORDS = re.compile(r"[\s'\"=;|&()<>`]+")


def keeping_secrets(step: Step) -> Step:
    """A step that says nothing of what the user wrote."""

    def kept(row: Row, turn: Turn) -> Outcome:
        secrets = secrets_of(row)
        if not secrets:
            return step(row, turn)
        try:
            return _hidden(step(row, turn), secrets)
        except (NeverError, TryAgainError, NoPlaceError, NotNowError) as error:
            error.args = tuple(without(each, secrets) for each in error.args)
            raise

    return kept


def secrets_of(row: Row) -> list[str]:
    """The longest first, so that none is left in parts."""
    command = row.command or ""
    values = [value for value in (row.env_vars or {}).values() if len(value) >= SHORTEST_VALUE]
    words = [word for word in (command.strip(), *BETWEEN_WORDS.split(command)) if len(word) >= SHORTEST_WORD]
    tokens = [row["jupyter_token"]] if row.get("jupyter_token") else []
    return sorted({*values, *words, *tokens}, key=len, reverse=True)


def without(told: Any, secrets: list[str]) -> Any:
    """The same text, or the same list of what was told, with stars for secrets."""
    if isinstance(told, str):
        for secret in secrets:
            told = told.replace(secret, HIDDEN)
        return told
    if isinstance(told, list):
        return [{name: without(value, secrets) for name, value in each.items()} for each in told]
    return told


def _hidden(outcome: Outcome, secrets: list[str]) -> Outcome:
    if isinstance(outcome, (Advance, Wait)):
        outcome = replace(outcome, changes=tuple(_told(change, secrets) for change in outcome.changes))
    return outcome if isinstance(outcome, Advance) else replace(outcome, reason=without(outcome.reason, secrets))


def _told(change: Change, secrets: list[str]) -> Change:
    values = {name: without(value, secrets) if name in TOLD else value for name, value in change.values.items()}
    return replace(change, values=values, reason=without(change.reason, secrets))
