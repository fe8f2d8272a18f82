"""`pgfleet serve`: the HTTP API and the dashboard, in this process, until SIGTERM or Ctrl-C."""

import sys
from typing import Annotated, Any

import typer

from pgfleet.console.commands.running.parent import end_with
from pgfleet.console.connection import database_url
from pgfleet.console.examples import example
from pgfleet.producers.submit.terminal import err
from pgfleet.schema.settings import read_settings

# Before the drain time begins, whoever sends requests here sees for so long that it is not ready.
NOTICE_S = 2.0
# A thread that computes gives way after so long (Python: 5 ms), and what is quick comes through beside it.
SWITCH_S = 0.001


@example("pgfleet serve --port 8080")
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen at: nobody but this machine, unless given.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8080,
    parent: Annotated[int | None, typer.Option(help="End when this process has.", hidden=True)] = None,
) -> None:
    """Serve the HTTP API and the dashboard until SIGTERM or Ctrl-C; several may run on one database.

    It makes no schema: what the database lacks is told, and it ends. Behind a proxy that ends TLS name that with
    PGFLEET_TRUSTED_PROXIES. /openapi.json says what there is; `pgfleet keys create` makes a first key.
    """
    # Only now, so that --help is quick, and so that a missing extra is named.
    from pgfleet.console.web.site import site  # noqa: PLC0415
    from pgfleet.producers.http.desk import desk_of  # noqa: PLC0415
    from pgfleet.producers.http.health.ending import end_by_signals  # noqa: PLC0415
    from pgfleet.producers.http.health.fleet import counted  # noqa: PLC0415
    from pgfleet.producers.http.serving import Pace, made, served  # noqa: PLC0415
    from pgfleet.producers.http.settings import read_serve_settings  # noqa: PLC0415
    from pgfleet.schema.environment.garbage import keep_what_is_loaded  # noqa: PLC0415
    from pgfleet.schema.tracing.exporting import exported  # noqa: PLC0415
    from pgfleet.workers.runtime.logs import set_up_logs  # noqa: PLC0415
    from pgfleet.workers.runtime.outside.port import Shown  # noqa: PLC0415
    from pgfleet.workers.runtime.outside.port import serve as serve_metrics  # noqa: PLC0415

    database_url()
    settings, serving = read_settings(), read_serve_settings()
    set_up_logs()
    with (
        exported("pgfleet-api"),
        desk_of(settings, serving) as desk,
        served(made(desk, beside=site), host, port, desk.ending, Pace(NOTICE_S, settings.drain_s)) as server,
        counted(desk.pool),
    ):
        if settings.metrics_port:
            readiness = desk.readiness
            probes = {"/livez": lambda: Shown([]), "/readyz": lambda: Shown([str(each) for each in readiness.lacks()])}
            serve_metrics(settings.metrics_host, settings.metrics_port, probes, _fleet(desk.pool) or settings.fleet)
        err().print(f"{server.url}  (what there is: {server.url}/openapi.json)", soft_wrap=True)
        end_by_signals(desk.ending)
        if parent is not None:
            end_with(parent)
        keep_what_is_loaded()
        sys.setswitchinterval(SWITCH_S)
        server.run()


def _fleet(pool: Any) -> str:
    """Its name as the database has it; nothing while that can't be asked."""
    import psycopg  # noqa: PLC0415  # as those above

    from pgfleet.schema.reads import pod  # noqa: PLC0415

    try:
        with pool.connection() as conn:
            return pod.fleet(conn)
    except psycopg.Error:
        return ""
