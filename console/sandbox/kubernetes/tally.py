"""Counters since the start of the sandbox, and pods that were created twice under one name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.store import Change, Key


class Tally:
    def __init__(self) -> None:
        self.requests = 0
        self.asked: Counter[str] = Counter()  # by verb and resource, such as "list pods"
        self.created_pods = 0
        self.double_creations = 0
        self.executions = 0
        self._names: set[Key] = set()

    def count(self, question: str) -> None:
        self.asked[question] += 1

    def watch(self, change: Change) -> None:
        key = change.record.key
        if change.kind != "ADDED" or key[0] != "pods":
            return
        self.created_pods += 1
        self.double_creations += key in self._names
        self._names.add(key)
