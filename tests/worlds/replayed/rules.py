"""The rules of the model (tests/model/rules.h), and whether what was recorded of a queue keeps them."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MODEL = Path(__file__).parents[2] / "model"


class Rule(NamedTuple):
    """A line of rules.h."""

    what: str
    before: str
    after: str
    who: str
    when: str
    read_ct: str


@dataclass(frozen=True)
class Change:
    """A change of one message as it was recorded, in the words of the rules.

    Attributes:
        who: the login whose session made it.
        due: whether `vt` had passed.
        read_ct: as it was before, and how it has become.
    """

    msg_id: int
    what: str
    who: str
    due: bool
    read_ct: tuple[int, int]


def rules() -> list[Rule]:
    lines = re.findall(r"^RULE\((.*)\)$", (MODEL / "rules.h").read_text("utf-8"), re.MULTILINE)
    return [Rule(*(word.strip() for word in line.split(","))) for line in lines]


class Owned(NamedTuple):
    """Where a message is; who claimed it last, and with which read_ct."""

    at: str = "NOWHERE"
    owner: str | None = None
    read_ct: int = 0


def broken(changes: Iterable[Change], workers: Collection[str]) -> Iterator[str]:
    """What no rule allows, in words; `workers` are the logins of workers."""
    messages: dict[int, Owned] = defaultdict(Owned)
    for change in changes:
        owned = messages[change.msg_id]
        found = [rule for rule in rules() if (rule.what, rule.before) == (change.what, owned.at)]
        if not any(_allows(rule, change, owned, workers) for rule in found):
            yield f"message {change.msg_id}, {owned}: {change}"
        at = found[0].after if found else owned.at
        claimed = change.what == "claims"
        messages[change.msg_id] = Owned(at, change.who, change.read_ct[1]) if claimed else owned._replace(at=at)


def _allows(rule: Rule, change: Change, owned: Owned, workers: Collection[str]) -> bool:
    who = {
        "ANYBODY": True,
        "WORKER": change.who in workers,
        "OWNER": (change.who, change.read_ct[0]) == (owned.owner, owned.read_ct),
        "STRANGER": change.who not in workers,
    }
    before, after = change.read_ct
    raised = {"RAISED": after == before + 1, "KEPT": after == before}
    return who[rule.who] and {"DUE": change.due, "ANY_TIME": True}[rule.when] and raised[rule.read_ct]
