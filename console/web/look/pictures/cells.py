"""Nodes with their GPUs as cells: whose each is and until when, which are free, and which are not available."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import htpy as h

from pgfleet.console.web.look.words import number, relative


def node(row: Mapping[str, Any], held: Sequence[Mapping[str, Any]], now: datetime) -> h.Element:
    """One node; `held` are those of its holders whose names may be told."""
    known = sum(each["gpus_held"] for each in held)
    others = max(row["gpus_used"] - known, 0)
    free = row["gpus_free"]
    away = max(row["gpus"] - known - others - free, 0)
    told = f"{row['gpus']} GPUs: {known + others} held, {free} free" + (f", {away} not available" if away else "")
    return h.li(".node")[
        h.span(".node-name")[row["node_name"]],
        h.span(".cells", role="img", aria_label=told)[
            (_cell("held", each, now) for each in held for _ in range(each["gpus_held"])),
            (h.span(".cell.other", title="held by somebody else") for _ in range(others)),
            (h.span(".cell.free", title="free") for _ in range(free)),
            (h.span(".cell.away", title=row["problem"] or "not available") for _ in range(away)),
        ],
        h.span(".dim")[row["problem"] or f"{free} free"],
    ]


def many(rows: Sequence[Mapping[str, Any]]) -> h.Node:
    """A cell for each of many nodes: full, some of its GPUs free, all of them, or not available."""
    kinds = [_whole(row) for row in rows]
    told = ", ".join(f"{number(kinds.count(kind))} {name}" for kind, name in WHOLE.items() if kind in kinds)
    cells = (
        h.span(class_=f"cell {kind}", title=f"{row['node_name']}: {row['problem'] or _free(row)}")
        for row, kind in zip(rows, kinds, strict=True)
    )
    return [h.p(".dim")[f"{number(len(rows), 'node')}: {told}"], h.p(".cells", role="img", aria_label=told)[cells]]


WHOLE = {"held": "full", "partly": "partly free", "free": "free", "away": "not available"}


def _whole(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return "away"
    if row["gpus_free"] <= 0:
        return "held"
    return "free" if row["gpus_free"] >= row["gpus"] else "partly"


def _free(row: Mapping[str, Any]) -> str:
    return f"{row['gpus_free']} of {row['gpus']} free"


def _cell(kind: str, row: Mapping[str, Any], now: datetime) -> h.Element:
    ends = row["expires_at"]
    until = f", ends {relative((ends - now).total_seconds())}" if ends else f", {row['status']}"
    return h.a(class_=["cell", kind], href=f"/reservations/{row['reservation_id']}", title=f"{row['user_id']}{until}")


def legend(kinds: Iterable[tuple[str, str]]) -> h.Element:
    return h.p(".legend")[(h.span[h.span(class_=["cell", kind]), f" {text}"] for kind, text in kinds)]
