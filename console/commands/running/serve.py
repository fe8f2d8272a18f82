"""`pgfleet serve`: the HTTP API, in this process, until SIGTERM or Ctrl-C."""

from typing import Annotated

import typer

from pgfleet.console.connection import database_url
from pgfleet.console.examples import example
from pgfleet.producers.submit.terminal import err
from pgfleet.schema.settings import read_settings


@example("pgfleet serve --port 8080")
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen at: nobody but this machine, unless given.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8080,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; several may run on one database.

    It makes no schema: what the database lacks is told, and it ends. Behind a proxy that ends TLS name that with
    PGFLEET_TRUSTED_PROXIES. /openapi.json says what there is; `pgfleet keys create` makes a first key.
    """
    # Only now, so that --help is quick, and so that a missing extra is named.
    from pgfleet.producers.http.desk import desk_of  # noqa: PLC0415
    from pgfleet.producers.http.serving import made, served  # noqa: PLC0415
    from pgfleet.producers.http.settings import read_serve_settings  # noqa: PLC0415
    from pgfleet.workers.runtime.logs import set_up_logs  # noqa: PLC0415
    from pgfleet.workers.runtime.outside.port import Shown  # noqa: PLC0415
    from pgfleet.workers.runtime.outside.port import serve as serve_metrics  # noqa: PLC0415

    database_url()
    settings, serving = read_settings(), read_serve_settings()
    set_up_logs()
    with desk_of(settings, serving) as desk, served(made(desk), host, port) as server:
        if settings.metrics_port:
            lacking = desk.pool.lacking
            probes = {"/livez": lambda: Shown([]), "/readyz": lambda: Shown(lacking())}
            serve_metrics(settings.metrics_host, settings.metrics_port, probes)
        err().print(f"{server.url}  (what there is: {server.url}/openapi.json)")
        server.run()
