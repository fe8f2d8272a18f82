"""All fleets that somebody is logged in to, side by side."""

import io
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pgfleet.console.remote import credentials
from worlds.api.server import Api, api_on
from worlds.commands import Pgfleet
from worlds.database import fresh_database

NAME = "insert into public.fleet_name (name) values (%s)"


@pytest.fixture
def other(server_dsn: str, template: str) -> Iterator[Api]:
    with fresh_database(server_dsn, template) as dsn, api_on(dsn) as running:
        yield running


def log_in(command: Pgfleet, api: Api, user: str, role: str = "USER") -> None:
    command.monkeypatch.setattr(sys, "stdin", io.StringIO(f"{api.key_of(user, role)}\n"))
    ended = command("login", api.url, "--key-stdin")
    assert ended.code == 0, ended.err


def test_each_is_shown_with_its_name_and_the_one_in_use_has_a_star(nobody: Pgfleet, api: Api, other: Api) -> None:
    """Each as whom it is logged in to it."""
    api.conn.execute(NAME, ("eu-1",))
    api.conn.execute("update public.gpu_types set total_cluster_gpus = 16, max_gpus = 8 where gpu_type = 'h100'")
    other.conn.execute("update public.gpu_types set total_cluster_gpus = 0")
    log_in(nobody, api, "ada")
    log_in(nobody, other, "eve")

    ended, found = nobody("cells"), nobody("cells", "--json").json

    by_url = {each["url"]: each for each in found}
    assert ended.code == 0, ended.err
    assert [by_url[each.url]["name"] for each in (api, other)] == ["eu-1", other.url.removeprefix("http://")]
    assert [by_url[each.url]["user"] for each in (api, other)] == ["ada", "eve"]
    lines = ended.out.splitlines()
    (first,) = [line.split() for line in lines if "eu-1" in line and "h100" in line]
    assert first == ["eu-1", "ada", "h100", "16", "16", "0", api.url]
    assert all(line.startswith("*") == (other.url in line) for line in lines[1:])
    assert next(line.split() for line in lines if other.url in line)[3:5] == ["no", "GPUs"]
    assert "DEAD LETTERS" not in ended.out, "queues are for operators"


def test_an_operator_sees_what_is_stuck_in_each(nobody: Pgfleet, api: Api, other: Api) -> None:
    for each in (api, other):
        log_in(nobody, each, "oper", "DEVOPS")
    other.conn.execute("select pgmq.send('gpu_reservations', '{}') from generate_series(1, 3)")
    other.conn.execute("insert into public.pauses (what, by_whom) values ('gpu_reservations', 'ops')")

    ended = nobody("cells")

    (line,) = [line.split() for line in ended.out.splitlines() if "gpu_reservations" in line]
    assert (line[0], line[1], line[-1]) == (other.url.removeprefix("http://"), "3", "gpu_reservations")


def test_one_that_does_not_answer_is_told_and_the_others_are_shown(nobody: Pgfleet, dsn: str, api: Api) -> None:
    log_in(nobody, api, "ada")
    with api_on(dsn) as gone:
        log_in(nobody, gone, "eve")

    ended = nobody("cells")

    assert ended.code == 1
    assert api.url in ended.out
    assert "does not answer" in ended.out
    assert f"{gone.url} can't be reached" in ended.err


def test_a_key_that_is_not_taken_any_more_is_told_with_what_to_do(nobody: Pgfleet, api: Api) -> None:
    log_in(nobody, api, "ada")
    api.conn.execute("delete from public.api_keys")

    ended = nobody("cells")

    assert (ended.code, f"Log in: pgfleet login {api.url}" in ended.err) == (1, True)


def test_what_is_no_api_of_pgfleet_is_told_and_the_others_are_shown(nobody: Pgfleet, dsn: str, api: Api) -> None:
    class Another(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"name": "something else"}')

        def log_message(self, *_: object) -> None:
            pass

    log_in(nobody, api, "ada")
    with ThreadingHTTPServer(("127.0.0.1", 0), Another) as other:
        threading.Thread(target=other.serve_forever).start()
        url = f"http://127.0.0.1:{other.server_port}"
        credentials.save(url, credentials.Login("ada", "a-key"))
        ended = nobody("cells")
        other.shutdown()

    assert (ended.code, api.url in ended.out) == (1, True)
    assert "is no API of pgfleet, or one of another version" in ended.err


def test_who_is_logged_in_to_none_is_told_how(nobody: Pgfleet) -> None:
    ended = nobody("cells")

    assert (ended.code, "pgfleet login URL" in ended.err) == (2, True)
