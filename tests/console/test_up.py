"""What `pgfleet up` starts beside workers: the HTTP API, with a login of its own and a first key."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from pgfleet.console.local import children as started
from pgfleet.console.local.children import children
from pgfleet.console.local.first_key import first_key, serving_dsn
from pgfleet.schema.identity import accounts, keys
from worlds.api.process import free_port
from worlds.database import Connection
from worlds.fleet import PATIENCE_S, until


@pytest.fixture(autouse=True)
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_USER", "ada")


def test_whoever_runs_it_is_an_admin_and_has_one_key(conn: Connection) -> None:
    """The account is made once; the key of the time before ends, as it was shown and is gone."""
    first, second = first_key(conn), first_key(conn)

    (account,) = accounts.listing(conn)
    assert (account["username"], account["role"]) == ("ada", "ADMIN")
    assert keys.principal_of(conn, first.key) is None
    found = keys.principal_of(conn, second.key)
    assert found is not None
    assert (found.username, found.role) == ("ada", "ADMIN")


def test_a_name_that_rows_have_already_is_theirs(conn: Connection) -> None:
    conn.execute("insert into public.disks (disk_name, user_id) values ('data', 'ada')")

    assert first_key(conn).username == "ada"


def test_other_keys_of_theirs_stay(conn: Connection) -> None:
    first_key(conn)
    own = keys.make(conn, "ada", hours=1, description="laptop")

    first_key(conn)

    assert keys.principal_of(conn, own.key) is not None


def test_the_api_answers_the_first_key_with_a_login_that_may_serve_and_nothing_else(
    conn: Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another port, where that of other times is taken."""
    key = first_key(conn).key
    own = serving_dsn(conn, dsn)
    assert serving_dsn(conn, dsn) == own
    assert (urlsplit(own).username, urlsplit(own).path) == ("pgfleet_serve_of_up", urlsplit(dsn).path)
    monkeypatch.setattr(started, "FIRST_PORT", free_port())
    with (
        socket.create_server(("127.0.0.1", started.FIRST_PORT)),
        children(tmp_path, {**os.environ, "DATABASE_URL": own}) as running,
    ):
        url = running.api({})
        until(lambda: _answers(running, url))

        said = httpx.get(
            f"{url}/v1/me", headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S, trust_env=False
        )

        assert urlsplit(url).port != started.FIRST_PORT
        assert (said.status_code, said.json()["username"]) == (200, "ada")
    with psycopg.connect(own) as serving, pytest.raises(psycopg.errors.InsufficientPrivilege):
        serving.execute("select hashed_password from autoscaler.users")
    assert not _listens(url)


def _answers(running: started.Children, url: str) -> bool:
    running.check()
    return _listens(url)


def _listens(url: str) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0
