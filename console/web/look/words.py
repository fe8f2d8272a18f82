"""Words of pages: states with their shape, times that are relative with the exact one behind, numbers with units."""

from datetime import UTC, datetime
from functools import lru_cache

import htpy as h
from markupsafe import Markup

from pgfleet.console.web.look.writing import kept
from pgfleet.schema.reads.pictures.figures import MOST

MINUTE, HOUR, DAY = 60, 3600, 86_400
# A shape a state, as colour alone tells not everybody. States of all machines; one that is not here is a dot.
SHAPES = {
    "pending": "○",
    "queued": "◔",
    "preparing": "◑",
    "active": "●",
    "expired": "◌",
    "cancelled": "⊘",
    "failed": "✕",
    "creating": "◔",
    "available": "●",
    "in_use": "◆",
    "attached": "◆",
    "in_progress": "◑",
    "completed": "●",
    "purged": "◌",
    "deleting": "◐",
    "deleted": "◌",
    "error": "✕",
    "waiting": "○",
    "assigned": "●",
    "suspended": "◫",
    "released": "◌",
    "ACTIVE": "●",
    "INACTIVE": "◌",
    "OFFLINE": "✕",
    "ERROR": "▲",
    "healthy": "●",
    "degraded": "▲",
    "unhealthy": "✕",
    "unknown": "○",
    "ok": "●",
    "warning": "▲",
    "critical": "✕",
    "online": "●",
    "offline": "✕",
    "provisioning": "◔",
    "initializing": "◔",
    "maintenance": "◫",
    "decommissioning": "◌",
    "creating_user": "◔",
    "full": "◆",
    "delivered": "●",
    "failing": "▲",
    "given up": "✕",
    "passed over": "◌",
    "stopped": "◌",
    "off": "◌",
    "revoked": "⊘",
}
# What a state means for who looks: it goes well, it waits, it goes wrong, or it is over.
TONES = {
    "good": {
        "active",
        "available",
        "attached",
        "in_use",
        "assigned",
        "healthy",
        "ok",
        "completed",
        "online",
        "delivered",
    },
    "bad": {"failed", "error", "offline", "unhealthy", "lost", "dead", "critical", "given up", "failing"},
    "waits": {
        "pending",
        "in_progress",
        "queued",
        "preparing",
        "creating",
        "waiting",
        "degraded",
        "warning",
        "deleting",
        "maintenance",
        "provisioning",
        "initializing",
        "creating_user",
        "full",
        "suspended",
    },
}


@lru_cache(maxsize=1_000)
def state(name: str, more: str | None = None) -> Markup:
    """A state, by shape and word and colour."""
    tone = next((tone for tone, names in TONES.items() if name.lower() in names), "over")
    words = h.span(class_=["state", f"tone-{tone}"])[
        h.span(".mark", aria_hidden="true")[SHAPES.get(name, "•")],
        " ",
        name.lower().replace("_", " "),
        more and f" {more}",
    ]
    return kept(words)


def when(moment: datetime | None, now: datetime, otherwise: str = "unknown") -> h.Node:
    """`in 2 h 5 min`, with the exact time on hover; the browser keeps it up to date."""
    if moment is None:
        return h.span(".dim")[otherwise]
    utc = _utc(moment)
    return _time(utc, relative((utc - now).total_seconds()))


def since(moment: datetime | None, now: datetime) -> h.Node:
    """`for 2 h 5 min`, of what goes on, with the exact time of its begin on hover."""
    if moment is None:
        return None
    utc = _utc(moment)
    return _time(utc, f"for {lasting(max((now - utc).total_seconds(), 0))}", goes_on=True)


@lru_cache(maxsize=10_000)
def _time(utc: datetime, text: str, *, goes_on: bool = False) -> Markup:
    exact = f"{utc:%a %d %b %Y, %H:%M:%S} UTC"
    title, goes = (f"since {exact}", "") if goes_on else (exact, None)
    return kept(h.time(datetime=f"{utc:%Y-%m-%dT%H:%M:%SZ}", title=title, data_goes_on=goes)[text])


def _utc(moment: datetime) -> datetime:
    """Some columns have no zone, and are UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def relative(seconds: float) -> str:
    """As `static/app.js` has it, too."""
    text = lasting(abs(seconds))
    if abs(seconds) < 1:
        return "now"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def lasting(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")


def number(amount: float | None, unit: str = "", units: str | None = None) -> str:
    """`1,200 messages`, `1 GPU`; what is not known is a dash."""
    if amount is None:
        return "–"
    figure = f"{amount:,.0f}" if float(amount).is_integer() else f"{amount:,.1f}"
    named = unit if amount == 1 else (units or (f"{unit}s" if unit else ""))
    return f"{figure} {named}".strip()


def counted(amount: int, unit: str = "") -> str:
    """A number that was counted no further than MOST."""
    return f"≥ {number(MOST, unit)}" if amount >= MOST else number(amount, unit)


def gpus(row: dict[str, object]) -> str:
    """`2 × h100`, `2 × 8 h100` of a gang."""
    nodes = row.get("total_nodes") or 1
    count, kind = row.get("gpu_count"), row.get("gpu_type")
    if kind is None:
        return "–"
    one = f"{count}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{kind}"
    return one if nodes == 1 else f"{nodes} nodes × {one}"


def link(address: str, *content: h.Node) -> h.Element:
    return h.a(href=address)[content]


def short(row_id: str) -> str:
    """As much of an id as tells rows apart for the eye."""
    return row_id[:8]
