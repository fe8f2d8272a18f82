"""`pgfleet simulate`, and its `fleet`: a load of heartbeats as real nodes send them, with the faults that they have."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from pgfleet.console.connection import database, database_url
from pgfleet.console.simulate import reservations
from pgfleet.console.simulate.engine import Beat, Engine, Fleet, Shares, node_name, reported
from pgfleet.console.simulate.sender import Parcel, Registered, Sender, register
from pgfleet.console.simulate.sender import forget as forget_nodes
from pgfleet.producers.submit.terminal import err, out, print_json, progress, terminated_like_interrupted
from pgfleet.schema.heartbeat import AutoscalerHeartbeat
from pgfleet.schema.settings import read_settings

TICK_S = 0.5
SHOWN_EVERY_S = 1.0
# Without --for, those who die do so in the middle of ten minutes.
SPAN_S = 600.0

app = typer.Typer(
    help="Simulate what pgfleet looks after.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback(epilog="Example: pgfleet simulate fleet --nodes 1000 --interval 10 --for 60")
def simulate() -> None:
    """Simulate what pgfleet looks after."""


def _share(what: str) -> Any:
    return typer.Option(min=0, max=1, help=what)


@app.command(epilog="Example: pgfleet simulate fleet --nodes 1000 --interval 10 --for 60 --json", no_args_is_help=True)
def fleet(  # noqa: PLR0913  # one parameter an option
    *,
    nodes: Annotated[int, typer.Option(min=1, max=99_999, help="How many; sim-00001 and so on.")],
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two heartbeats of a node.")] = 60,
    span: Annotated[
        float | None, typer.Option("--for", min=0.5, help="End after so many seconds; else Ctrl-C.")
    ] = None,
    dying: Annotated[float, _share("Part of the nodes that stop for good.")] = 0.01,
    flapping: Annotated[float, _share("Part of the nodes that are silent for a while, again and again.")] = 0.01,
    late: Annotated[float, _share("Part of the heartbeats that arrive after newer ones.")] = 0.01,
    duplicate: Annotated[float, _share("Part of the heartbeats that are sent twice.")] = 0.01,
    lost: Annotated[float, _share("Part of the heartbeats that never arrive.")] = 0.01,
    errors: Annotated[float, _share("Part of the heartbeats that report an error.")] = 0.01,
    drift: Annotated[float, _share("Part of the nodes that run another configuration.")] = 0.05,
    pools: Annotated[int, typer.Option(min=0, max=100, help="Instance pools of a node.")] = 1,
    seed: Annotated[int, typer.Option(help="Who does what: the same for the same seed.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Let nodes report, fall silent, come back and die. They stay registered for the next time: see `forget`."""
    planned = Fleet(
        nodes=nodes,
        interval_s=interval,
        shares=Shares(dying, flapping, late, duplicate, lost, errors, drift),
        span_s=span or SPAN_S,
        offline_s=read_settings().node_offline_s,
        pools=pools,
        seed=seed,
    )
    run = _begin(planned)
    with terminated_like_interrupted():
        try:
            _drive(run, span or float("inf"))
        except KeyboardInterrupt:
            err().print("interrupted")
        finally:
            run.sender.close()
    summary = summary_of(run)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)
        err().print("They will be silent from now on: `pgfleet simulate forget` takes them away.")


app.command(epilog=reservations.EXAMPLE)(reservations.reservations)


@app.command(epilog="Example: pgfleet simulate forget")
def forget() -> None:
    """Delete the simulated nodes, so that they don't count as silent."""
    with database() as conn:
        out().print(f"{forget_nodes(conn)} simulated nodes deleted")


@dataclass
class Run:
    """A simulation under way; times are seconds since it began."""

    engine: Engine
    nodes: list[Registered]
    sender: Sender
    began: float
    began_at: datetime
    reached: float = 0

    def now(self) -> float:
        return time.monotonic() - self.began

    def at(self, seconds: float) -> datetime:
        """A moment of it, on the clock."""
        return self.began_at + timedelta(seconds=seconds)


def _begin(planned: Fleet) -> Run:
    with database() as conn:
        nodes = register(conn, [node_name(node) for node in range(planned.nodes)])
    return Run(Engine(planned), nodes, Sender(database_url()), time.monotonic(), datetime.now(UTC))


def _drive(run: Run, span_s: float) -> None:
    with progress() as show:
        shown = 0.0
        while (now := run.now()) < span_s:
            _tick(run, now)
            if err().is_terminal and now - shown >= SHOWN_EVERY_S:
                show(_progress(run))
                shown = now
            time.sleep(max(0, min(now + TICK_S, span_s) - run.now()))
        _tick(run, span_s)


def _tick(run: Run, now: float) -> None:
    """Send what is due."""
    run.sender.waiting.extend(_parcel(run, beat) for beat in run.engine.due(now))
    run.sender.flush(now)
    run.reached = now


def _parcel(run: Run, beat: Beat) -> Parcel:
    node = run.nodes[beat.node]
    fields = {**reported(run.engine, beat, node.config_hash), "node_id": node.id, "sent_at": run.at(beat.sent)}
    return Parcel(beat.arrives, beat.node, beat.sent, beat.repeat, AutoscalerHeartbeat(**fields))


def _progress(run: Run) -> str:
    now, tally = run.reached, run.sender.tally
    silent = sum(not run.engine.habits[node].speaks(now) for node in run.engine.flapped(now))
    return (
        f"{now:6.0f} s   {len(run.nodes)} nodes   {tally.sent} sent   {len(run.engine.died(now))} dead   "
        f"{silent} of {len(run.engine.flapped(now))} flapping are silent   {len(run.sender.waiting)} behind"
    )


def summary_of(run: Run) -> dict[str, Any]:
    """What was sent, and who died or flapped: node ids of the database, with the time of the last heartbeat."""
    tally, now = run.sender.tally, run.reached
    return {
        "nodes": len(run.nodes),
        "seconds": round(now, 1),
        "sent": tally.sent,
        "unique": tally.unique,
        "duplicated": tally.duplicated,
        "lost": run.engine.lost,
        "given_up": tally.given_up,
        "reconnected": tally.reconnected,
        "died": _with_last_heartbeat(run, run.engine.died),
        "flapped": _with_last_heartbeat(run, run.engine.flapped),
    }


def _with_last_heartbeat(run: Run, those: Callable[[float], list[int]]) -> list[dict[str, Any]]:
    last_s = run.sender.tally.last_s
    return [
        {"node_id": run.nodes[node].id, "last_heartbeat": run.at(last_s[node]) if node in last_s else None}
        for node in those(run.reached)
    ]


def _print_summary(summary: dict[str, Any]) -> None:
    for name, value in summary.items():
        out().print(f"{name:>12}  {len(value) if isinstance(value, list) else value}")
