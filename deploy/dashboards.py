"""Writes the dashboards for Grafana into the chart: `python deploy/dashboards.py [--check]`."""  # noqa: INP001  # a script

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "chart" / "files" / "dashboards"
# The form that Grafana reads from version 10 on; newer ones read it, too.
SCHEMA_VERSION = 39
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """What is asked, by the legend of each query."""

    title: str
    queries: dict[str, str]
    says: str
    unit: str = "short"
    stacked: bool = False


def most(metric: str, *by: str, where: str = "") -> str:
    """A figure of the fleet; a sum would count twice while one process takes over the counting from another."""
    return f"max by ({', '.join(by)}) ({metric}{where})"


def rate(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}[$__rate_interval]))"


def slowest(metric: str, *by: str, share: float = 0.99) -> str:
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', 'le', *by)})"


def of_ours(metric: str) -> str:
    """A metric that every process of Python has: only of those that are pgfleet's."""
    return f"{metric} and on (instance) pgfleet_build_info"


def gpus(state: str) -> str:
    return most("pgfleet_gpus", "gpu_type", where=f'{{state="{state}"}}')


FLEET = (
    Panel("GPUs held", {"{{gpu_type}}": gpus("held")}, "By reservations, or for them.", stacked=True),
    Panel("GPUs free", {"{{gpu_type}}": gpus("free")}, "On nodes that take reservations.", stacked=True),
    Panel("GPUs held, of all", {"{{gpu_type}}": f"{gpus('held')} / {gpus('total')}"}, "How full it is.", "percentunit"),
    Panel("GPUs waited for", {"{{gpu_type}}": gpus("waiting")}, "By all in line.", stacked=True),
    Panel(
        "Longest wait",
        {"{{gpu_type}}": most("pgfleet_oldest_wait_seconds", "gpu_type")},
        "Of those who are in line now.",
        "s",
    ),
    Panel(
        "Reservations by state",
        {"{{state}}": most("pgfleet_rows", "state", where='{machine="reservation"}')},
        "Counted up to 10,000 of each state.",
        stacked=True,
    ),
    Panel(
        "All other rows by state",
        {"{{machine}} {{state}}": most("pgfleet_rows", "machine", "state", where='{machine!="reservation"}') + " > 0"},
        "Disks, nodes, assignments and whatever else has a machine; counted up to 10,000.",
    ),
    Panel(
        "Messages in queues",
        {"{{queue}} {{state}}": most("pgfleet_queue_messages", "queue", "state")},
        "Ready, in hand of a worker, or delayed until a time; counted up to 10,000.",
    ),
    Panel(
        "Age of the oldest message that is due",
        {"{{queue}}": most("pgfleet_oldest_ready_age_seconds", "queue")},
        "Where it grows, no worker of the kind runs, or too few.",
        "s",
    ),
    Panel(
        "Dead letters that nobody has answered",
        {"{{queue}} {{class}}": most("pgfleet_dead_letters", "queue", "class")},
        "A rejection is its sender's mistake; a failure is ours.",
    ),
    Panel(
        "Outages",
        {"{{dependency}} {{calls}}": f"{most('pgfleet_outage', 'dependency', 'calls')} == 1"},
        "What does not answer: all that needs it waits.",
    ),
    Panel("Paused", {"{{what}}": most("pgfleet_paused", "what")}, "By an operator, or after a restore."),
    Panel(
        "Nodes that are heard of",
        {"{{machine}}": most("pgfleet_nodes_alive", "machine")},
        "Neither offline nor new, at the last sweep of a worker for heartbeats.",
    ),
    Panel(
        "Reservations that have ended and are not gone",
        {"stuck": "max(pgfleet_reservations_stuck)"},
        "Their GPUs are held until what they have in the cluster is gone.",
    ),
    Panel(
        "How long events are behind",
        {
            "held back by a transaction": "max(pgfleet_feed_held_seconds)",
            "not delivered": "max(pgfleet_events_undelivered_age_seconds)",
        },
        "Streams and the dashboard wait for the oldest transaction; subscribers that fail wait for themselves.",
        "s",
    ),
)
WORKERS = (
    Panel("Workers that take messages", {"{{queue}}": "sum by (queue) (pgfleet_ready)"}, "Processes that are ready."),
    Panel("Messages in hand", {"{{queue}}": "sum by (queue) (pgfleet_in_hand)"}, "Claimed and not settled."),
    Panel("Messages claimed", {"{{queue}}": rate("pgfleet_claimed_total", "queue")}, "A second.", "ops"),
    Panel(
        "Messages settled",
        {"{{queue}} {{outcome}}": rate("pgfleet_settled_total", "queue", "outcome")},
        "A second, by what came of them.",
        "ops",
    ),
    Panel(
        "From due to settled, 99 %",
        {"{{queue}}": slowest("pgfleet_message_seconds", "queue")},
        "What who sends a message waits for: in the queue, in its step, and until it is committed.",
        "s",
    ),
    Panel(
        "From due to settled, half",
        {"{{queue}}": slowest("pgfleet_message_seconds", "queue", share=0.5)},
        "As beside; a wait on purpose (a timer, a backoff) is not in it.",
        "s",
    ),
    Panel(
        "Steps with their effects, 99 %",
        {"{{queue}}": slowest("pgfleet_step_seconds", "queue")},
        "Of kinds that call something outside.",
        "s",
    ),
    Panel(
        "Settling a batch, 99 %",
        {"{{queue}}": slowest("pgfleet_settle_seconds", "queue")},
        "Where it grows, the database is slow.",
        "s",
    ),
    Panel(
        "Leases lost, and decisions made again",
        {
            "{{queue}} lost": rate("pgfleet_leases_lost_total", "queue"),
            "{{queue}} made again": rate("pgfleet_stale_total", "queue"),
        },
        "A second. A lease is lost by a worker without CPU; a decision is made again where its row has changed.",
        "ops",
    ),
    Panel(
        "What is watched",
        {"{{resource}}": most("pgfleet_watch_connected", "resource")},
        "1: what happens in the cluster is seen at once.",
    ),
    Panel(
        "Deliveries of events",
        {"{{outcome}}": rate("pgfleet_event_deliveries_total", "outcome")},
        "A second, to who has subscribed.",
        "ops",
    ),
    Panel(
        "Requests", {"{{status}}": rate("pgfleet_http_requests_total", "status")}, "A second.", "reqps", stacked=True
    ),
    Panel(
        "Slowest endpoints, 99 %",
        {"{{endpoint}}": f"topk(10, {slowest('pgfleet_http_request_seconds', 'endpoint')})"},
        "From a request's headers to the first of its answer.",
        "s",
    ),
    Panel(
        "Requests without a proof",
        {"{{reason}}": rate("pgfleet_http_strangers_refused_total", "reason")},
        "A second: keys and passwords that do not hold.",
        "reqps",
    ),
    Panel("Streams", {"open": "sum(pgfleet_http_streams)"}, "Of events, to people and programs."),
    Panel(
        "Sessions of the API in use",
        {"{{instance}}": "pgfleet_http_sessions_in_use"},
        "Where it stays at PGFLEET_SERVE_THREADS, requests wait for one another.",
    ),
    Panel(
        "Heartbeats that wait in the API",
        {"waiting": "sum(pgfleet_http_heartbeats_waiting)"},
        "For their batch, or for the database.",
    ),
    Panel(
        "CPU",
        {"{{instance}}": of_ours("rate(process_cpu_seconds_total[$__rate_interval])")},
        "Each process uses one core at most.",
        "percentunit",
    ),
    Panel("Memory", {"{{instance}}": of_ours("process_resident_memory_bytes")}, "Of each process.", "bytes"),
    Panel(
        "Versions", {"{{version}} {{fleet}}": "count by (version, fleet) (pgfleet_build_info)"}, "Processes of each."
    ),
)
BOARDS = {"fleet": ("pgfleet: the fleet", FLEET), "workers": ("pgfleet: workers and API", WORKERS)}


def rendered() -> Iterator[tuple[Path, str]]:
    """The files with their text."""
    for name, (title, panels) in BOARDS.items():
        yield FOLDER / f"{name}.json", json.dumps(_board(name, title, panels), indent=1) + "\n"


def _board(name: str, title: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    chosen = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}
    return {
        "uid": f"pgfleet-{name}",
        "title": title,
        "tags": ["pgfleet"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [chosen]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    """Three in a row."""
    wide, high = WIDTH // 3, 8
    stacking = {"mode": "normal" if panel.stacked else "none"}
    custom = {"fillOpacity": 30 if panel.stacked else 0, "stacking": stacking, "showPoints": "never"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": {"x": number % 3 * wide, "y": number // 3 * high, "w": wide, "h": high},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": asked, "legendFormat": legend}
            for at, (legend, asked) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    stale = [(path, text) for path, text in rendered() if not path.exists() or path.read_text("utf-8") != text]
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(path.name for path, _ in stale)}: run make generated")
    FOLDER.mkdir(exist_ok=True)
    for path, text in stale:
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
