"""Which reservations the nodes of a GPU type have room for: asked by admission, the dry run and `pgfleet types`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on each node (`schema/176_gpu_nodes.sql`). Where nodes were not seen lately, only totals count.

    Attributes:
        unheld: GPUs of the operator's total that neither a reservation nor a pod in quarantine has.
        free: GPUs by node; a node that takes no pod has none.
        problems: why nodes take no pod, by node.
        is_seen: whether the nodes were seen in the last two minutes.
        seen_ago_s: when they were seen last; None for never.
        zones: of nodes, where they are.
        sizes: of nodes, how many GPUs they have.
        placed: (GPUs, node) of those whose pod is on no node yet.
    """

    gpu_type: str
    unheld: int
    free: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    is_seen: bool = False
    seen_ago_s: float | None = None
    zones: Mapping[str, str | None] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    placed: tuple[tuple[int, str], ...] = ()

    def fits(self, gpus: int) -> bool:
        """Whether a reservation of so many GPUs finds them on one node, as far as is known."""
        return not self.is_seen or gpus <= self.most

    def without(self, gpus: int, on_node: str | None = None) -> "Room":
        """After so many have gone to their node, or to where the scheduler would put them: to the most free."""
        node = on_node or max(self.free, key=lambda name: self.free[name], default=None)
        if node is None or gpus > self.free.get(node, 0):
            return self
        free = {**self.free, node: self.free[node] - gpus}
        return replace(self, free=free, placed=(*self.placed, (gpus, node)))

    @property
    def most(self) -> int:
        """The most GPUs that are free on one node."""
        return max(self.free.values(), default=0)

    @property
    def total(self) -> int:
        return sum(self.free.values())

    @property
    def why_none(self) -> str | None:
        """Why no node of the type takes any pod; None where one does, or where nothing is known."""
        if not self.is_seen or len(self.problems) < len(self.free):
            return None
        if not self.free:
            return f"no node of {self.gpu_type} is in the cluster"
        return "; ".join(self.told_problems)

    @property
    def told_problems(self) -> list[str]:
        """What is wrong with nodes, a few of them by their names."""
        told = [f"{name} {problem}" for name, problem in sorted(self.problems.items())]
        more = [f"{len(told) - SHOWN} more take no pod"] if len(told) > SHOWN else []
        return told[:SHOWN] + more

    def shortage(self, gpus: int) -> str:
        """Why a reservation of so many GPUs has no room."""
        of = "1 node" if len(self.free) == 1 else f"{len(self.free)} nodes"
        told = self.why_none or f"at most {self.most} {'is' if self.most == 1 else 'are'} free on one (of {of})"
        return f"{gpus} GPU{'s' if gpus > 1 else ''} on one node wanted, {told}"

    @property
    def doubt(self) -> str | None:
        """What is to be said where only totals count; None where nodes are known."""
        if self.is_seen:
            return None
        return "its nodes were never seen" if self.seen_ago_s is None else f"its nodes were last seen {self._ago} ago"

    @property
    def _ago(self) -> str:
        minutes = (self.seen_ago_s or 0) / 60
        return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def room_of(row: Mapping[str, Any]) -> Room:
    """The room of a row of `gpu_rooms`: what is held already and has no node yet is placed first, the largest first."""
    names, problems = row["names"], row["problems"]
    room = Room(
        gpu_type=row["gpu_type"],
        unheld=row["unheld"],
        free=dict(zip(names, row["free"], strict=True)),
        problems={name: problem for name, problem in zip(names, problems, strict=True) if problem},
        is_seen=row["is_seen"],
        seen_ago_s=row["seen_ago_s"],
        zones=dict(zip(names, row["zones"], strict=True)),
        sizes=dict(zip(names, row["sizes"], strict=True)),
    )
    for gpus, node in zip(row["to_place"], row["to_place_on"], strict=True):
        room = room.without(gpus, node)
    return room
