"""What the pictures of nodes and clusters share: the colours of their states, and what the offline sweep says."""

from typing import Any

from rich.text import Text

from pgfleet.console.pictures.parts import cell, styled
from pgfleet.producers.submit.wording import span

# A sweep is due every 15 seconds (020): after so many, nobody is sweeping.
SWEEPS_MISSED_S = 90
STYLES = {
    "ACTIVE": "green",
    "INACTIVE": "dim",
    "ERROR": "red",
    "OFFLINE": "red",
    "online": "green",
    "active": "green",
    "healthy": "green",
    "provisioning": "yellow",
    "initializing": "yellow",
    "warning": "yellow",
    "degraded": "yellow",
    "maintenance": "cyan",
    "error": "red",
    "critical": "red",
    "offline": "red",
    "decommissioning": "dim",
    "unknown": "dim",
}


def status(name: str, shown: str | None = None) -> Text:
    return styled(name, STYLES, shown)


def short(config_hash: str | None) -> str:
    return (config_hash or "")[:8]


def clock(node: dict[str, Any]) -> Text:
    """`20 s behind`, `1.0 h ahead`: how its clock is to ours; nothing where it is right to the second."""
    skew_s = node["skew_s"] or 0
    if abs(skew_s) < 1:
        return Text()
    return cell(f"{span(abs(skew_s))} {'behind' if skew_s > 0 else 'ahead'}", "yellow" if node["clock_is_off"] else "")


def sweep_notes(sweep: dict[str, Any] | None) -> list[Text]:
    """What there is to say of the offline sweep, where its silence would mislead."""
    if sweep is None or sweep["swept_s"] > SWEEPS_MISSED_S:
        last = "never" if sweep is None else f"last {span(sweep['swept_s'])} ago"
        return [cell(f"nobody looks for silent nodes ({last}): is `pgfleet worker heartbeat` running?", "yellow")]
    if sweep["held_back"] is None:
        return []
    since = f"{sweep['held_back_since']:%Y-%m-%d %H:%M:%S %Z} ({span(sweep['held_back_s'])})"
    return [cell(f"silent nodes are not marked offline since {since}: {sweep['held_back']}", "yellow")]
