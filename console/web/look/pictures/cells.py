"""Nodes with their GPUs as cells: whose each is and until when, which are free, and which are not available."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import htpy as h

from pgfleet.console.web.look.words import relative


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


def _cell(kind: str, row: Mapping[str, Any], now: datetime) -> h.Element:
    ends = row["expires_at"]
    until = f", ends {relative((ends - now).total_seconds())}" if ends else f", {row['status']}"
    return h.a(class_=["cell", kind], href=f"/reservations/{row['reservation_id']}", title=f"{row['user_id']}{until}")


def legend(kinds: Iterable[tuple[str, str]]) -> h.Element:
    return h.p(".legend")[(h.span[h.span(class_=["cell", kind]), f" {text}"] for kind, text in kinds)]
