"""The sessions of `pgfleet serve`: as many as threads that answer, each with a limit on its waits."""

from functools import partial

from psycopg.sql import Identifier

from pgfleet.producers.http.settings import ServeSettings
from pgfleet.schema.database.missing import verify
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.database.sessions import Connection, connect, is_pooler, open_session
from pgfleet.schema.errors import FleetError
from pgfleet.schema.rows.named import named
from pgfleet.schema.settings import Settings

SQL = named(__package__)
APPLICATION = "pgfleet serve"
# Beyond the statement's own limit: the server says that it has given up, and has to be heard.
GRACE_S = 3.0


class RightsMissing(FleetError):
    """The login may not do what the API does; the message says what to grant."""


def open_pool(settings: Settings, serving: ServeSettings) -> Pool:
    """Sessions for the threads that answer, in a database that has all that the program needs.

    Raises:
        FleetError: the server can't be reached, it lacks something, or the login may not serve; with what to do.
    """
    dsn = settings.dsn()
    with connect(dsn, autocommit=True, application_name=APPLICATION) as conn:
        # First, as others may not even look for what there is.
        _check_login(conn)
        verify(conn)
        pooled = settings.pooled or is_pooler(conn)
    return Pool(partial(_open_one, dsn, serving.serve_timeout_s + GRACE_S, pooled=pooled), serving.serve_threads)


def _check_login(conn: Connection) -> None:
    row = conn.execute(SQL["may_serve"]).fetchone()
    if row is None or not row[0]:
        login = Identifier(conn.info.user).as_string(conn)
        raise RightsMissing(
            f"The login {conn.info.user} is no member of pgfleet_serve, so it may serve nobody. "
            f"As the owner of the database run:\n  grant pgfleet_serve to {login};"
        )


def _open_one(dsn: str, longest_s: float, *, pooled: bool) -> Connection:
    """Of a session that is our own, statements are prepared."""
    return open_session(
        dsn,
        autocommit=True,
        longest_s=longest_s,
        writes=True,
        application_name=APPLICATION,
        prepare_threshold=None if pooled else 3,
    )
