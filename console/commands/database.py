"""`pgfleet db` and `pgfleet migrate`: the database, embedded unless DATABASE_URL names another."""

import time
from typing import Annotated

import psycopg
import typer

from pgfleet.console.examples import example
from pgfleet.console.local import embedded
from pgfleet.producers.submit.database import forbidden
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.migrate import Applied, lacking_roles, migrate, owner_of_before
from pgfleet.schema.database.missing import missing
from pgfleet.schema.database.needed import begin_ids
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.errors import Refusal
from pgfleet.schema.nodes.telemetry import Engine, put_telemetry
from pgfleet.schema.settings import Settings, read_settings

# The smallest column that counts rows ends at 2,147,483,647; what begins here has room for 147 million.
LAST_FIRST_ID = 2_000_000_000
LACKING_ROLES = "Roles are missing that this login may not make. Only the owner works until somebody who may has run:"

db = typer.Typer(help="The database: the embedded server, or the one that DATABASE_URL names.", no_args_is_help=True)


@db.command(epilog='Example: psql "$(pgfleet db url)"')
def url() -> None:
    """Print the connection string, and nothing else: psql "$(pgfleet db url)"."""
    settings = read_settings()
    typer.echo(embedded.start(embedded.default_data_dir()) if settings.database_url is None else settings.dsn())


@db.command(epilog="Example: pgfleet db stop")
def stop() -> None:
    """Stop the embedded server. Its data stays; whatever needs it next starts it again."""
    stopped = embedded.stop(embedded.default_data_dir())
    typer.echo("stopped" if stopped else "was not running")


@db.command(epilog="Example: pgfleet db status")
def status() -> None:
    """Say which database is used and what state it is in. Ends with 1 unless it is ready for work."""
    settings = read_settings()
    if settings.database_url is None:
        data_dir = embedded.default_data_dir()
        dsn = embedded.running(data_dir)
        typer.echo(f"server    embedded, {'running' if dsn else 'not running (pgfleet db url starts it)'}")
        typer.echo(f"data      {data_dir}")
    else:
        dsn = settings.direct_dsn()
        typer.echo("server    from DATABASE_URL")
    if dsn is None:
        raise typer.Exit(1)
    typer.echo(f"url       {redact(dsn)}")
    lacking = _missing(dsn)
    typer.echo(f"schema    {f'{len(lacking)} missing (pgfleet migrate)' if lacking else 'complete'}")
    if lacking:
        raise typer.Exit(1)


@example("pgfleet migrate --check")
def migrate_command(
    *,
    check: Annotated[bool, typer.Option("--check", help="List what is missing, and change nothing.")] = False,
    rls: Annotated[
        bool | None,
        typer.Option(help="Switch row level security on or off: users see their own rows only."),
    ] = None,
    ids_from: Annotated[
        int | None,
        typer.Option(min=1, max=LAST_FIRST_ID, help="Number new rows from here on, so that no two fleets have one id."),
    ] = None,
    telemetry: Annotated[
        Engine | None,
        typer.Option(help="What nodes say in compressed hypertables of TimescaleDB, or back in plain tables by days."),
    ] = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for a server that can't be reached yet.")] = 0,
) -> None:
    """Bring the database to what this version needs. All or nothing, and safe to run at any time."""
    dsn = database_dsn(read_settings())
    _wait_for(dsn, wait)
    if check:
        lacking = _missing(dsn)
        typer.echo("\n".join(lacking) if lacking else "nothing is missing")
        raise typer.Exit(1 if lacking else 0)
    done = migrate(dsn, rls=rls)
    for each in done:
        typer.echo(_in_words(each))
    if ids_from is not None:
        with connect(dsn) as conn:
            begun = begin_ids(conn, ids_from)
        typer.echo(f"ids from {ids_from} in {begun} tables" if begun else f"all ids are {ids_from} and later already")
    if telemetry is not None:
        _put(dsn, telemetry)
    if rls is not None:
        typer.echo(f"row level security is {'on' if rls else 'off'}")
    elif not done:
        typer.echo(f"nothing to do: {len(sql_files())} files applied")
    _tell_what_is_left(dsn)


def _put(dsn: str, engine: Engine) -> None:
    typer.echo(f"telemetry: all rows are written again ({engine.value}); until then no heartbeat is taken", err=True)
    put = put_telemetry(dsn, engine)
    typer.echo("\n".join(f"put {table} ({engine.value})" for table in put) or f"telemetry is {engine.value} already")


def _wait_for(dsn: str, wait_s: float) -> None:
    """Until the server takes sessions, or for so long; what keeps it from that is told once."""
    until, told = time.monotonic() + wait_s, False
    while time.monotonic() < until:
        try:
            connect(dsn).close()
        except Unreachable as error:
            if not told:
                typer.echo(f"{error}\nIt is tried again for {wait_s:.0f} s.", err=True)
            told = True
            time.sleep(1)
        else:
            return


def _tell_what_is_left(dsn: str) -> None:
    """Roles that this login may not make: without them only the owner of the tables works. And whose the tables are."""
    with connect(dsn) as conn:
        lacking, of_before = lacking_roles(conn), owner_of_before(conn)
    if of_before:
        typer.echo(of_before, err=True)
    if lacking:
        statements = "\n".join(f"  {statement}" for statement in lacking)
        typer.echo(f"{LACKING_ROLES}\n{statements}\nThen run `pgfleet migrate` again.", err=True)


def _in_words(applied: Applied) -> str:
    if applied.lacked:
        return f"put right: {applied.version}"
    return f"applied {applied.version}{' again: it was edited' if applied.again else ''}"


def database_dsn(settings: Settings) -> str:
    """The direct connection string of the database in use; the embedded server is started for it."""
    if settings.database_url is None:
        return embedded.start(embedded.default_data_dir())
    return settings.direct_dsn()


def _missing(dsn: str) -> list[str]:
    with connect(dsn) as conn:
        try:
            return missing(conn)
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refusal(forbidden(conn.info.user, error)) from None
