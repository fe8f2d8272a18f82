"""Logging in and out: a key in a file that only its owner reads, and where commands go then."""

import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from pgfleet.schema.identity import accounts, passwords
from worlds.api.server import Api
from worlds.commands import Ended, Pgfleet

PASSWORD = "correct horse battery staple"  # noqa: S105  # of a test
NAMED_KEY, NAMED_URL = "PGFLEET_KEY", "PGFLEET_URL"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "pgfleet" / "credentials.json"


@pytest.fixture
def ada(api: Api) -> str:
    """Ada's e-mail: she has a password."""
    accounts.add(api.conn, "ada@example.org", username="ada", role="USER", password_hash=passwords.hash_of(PASSWORD))
    return "ada@example.org"


def typed(command: Pgfleet, line: str, *arguments: str) -> Ended:
    """With a line on stdin."""
    command.monkeypatch.setattr(sys, "stdin", io.StringIO(f"{line}\n"))
    return command(*arguments)


def key_in(file: Path, url: str) -> str:
    return str(json.loads(file.read_text("utf-8"))["logins"][url]["key"])


def test_who_logs_in_with_a_password_needs_nothing_more(nobody: Pgfleet, api: Api, ada: str, file: Path) -> None:
    """No variable, no database: the file says which API and which key."""
    logged_in = typed(nobody, PASSWORD, "login", api.url, "--email", ada)
    me = nobody("whoami", "--json").json

    assert (logged_in.code, f"logged in to {api.url} as ada" in logged_in.out) == (0, True), logged_in.err
    assert (me["username"], me["role"], me["api"]) == ("ada", "USER", api.url)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_wrong_password_keeps_nothing(nobody: Pgfleet, api: Api, ada: str, file: Path) -> None:
    ended = typed(nobody, "wrong", "login", api.url, "--email", ada)

    assert (ended.code, "no account with this e-mail and password" in ended.err) == (1, True)
    assert not file.exists()


def test_a_key_that_was_given_is_tried_before_it_is_kept(nobody: Pgfleet, api: Api, file: Path) -> None:
    key = api.key_of("ada")

    wrong = typed(nobody, "x" * 86, "login", api.url, "--key-stdin")
    was_there = file.exists()
    right = typed(nobody, key, "login", api.url, "--key-stdin")

    assert (wrong.code, was_there) == (2, False)
    assert right.code == 0, right.err
    assert key_in(file, api.url) == key


def test_logging_out_ends_the_key_of_the_session(nobody: Pgfleet, api: Api, ada: str, file: Path) -> None:
    """Whoever has copied it has nothing."""
    typed(nobody, PASSWORD, "login", api.url, "--email", ada)
    key = key_in(file, api.url)

    ended = nobody("logout")

    assert ended.code == 0, ended.err
    with api.with_key(key) as client:
        assert client.get("/v1/me").status_code == 401
    assert json.loads(file.read_text("utf-8"))["logins"] == {}


def test_a_file_that_others_can_read_is_refused(nobody: Pgfleet, api: Api, file: Path) -> None:
    typed(nobody, api.key_of("ada"), "login", api.url, "--key-stdin")
    file.chmod(0o644)

    ended = nobody("whoami")

    assert (ended.code, "others can read it (mode 644)" in ended.err, "chmod 600" in ended.err) == (2, True, True)


def test_a_key_that_has_ended_says_to_log_in_anew(nobody: Pgfleet, api: Api) -> None:
    typed(nobody, api.key_of("ada"), "login", api.url, "--key-stdin")
    api.conn.execute("update public.api_keys set expires_at = now() - interval '1 hour'")

    ended = nobody("whoami")

    assert (ended.code, f"Log in: pgfleet login {api.url}" in ended.err) == (2, True)


def test_a_server_that_is_away_is_said_in_a_sentence(nobody: Pgfleet) -> None:
    nobody.monkeypatch.setenv(NAMED_URL, "http://127.0.0.1:9")
    nobody.monkeypatch.setenv(NAMED_KEY, "k" * 86)

    ended = nobody("ls")

    assert (ended.code, "can't be reached" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://fleet.example.org", "is not encrypted"),
        ("http://127.0.0.1.example.org", "is not encrypted"),
        ("ftp://fleet.example.org", "no URL of an API"),
        ("https://ada:secret@fleet.example.org", "no name, password"),
        ("https://fleet.example.org:x", "no URL"),
    ],
)
def test_no_key_goes_where_others_read_it(nobody: Pgfleet, url: str, said: str) -> None:
    nobody.monkeypatch.setenv(NAMED_URL, url)
    nobody.monkeypatch.setenv(NAMED_KEY, "k" * 86)

    ended = nobody("whoami")

    assert (ended.code, said in ended.err, "secret" in ended.err) == (2, True, False)


@pytest.mark.parametrize("command", [("whoami",), ("ls", "--json"), ("cancel", "3f2a9c1e"), ("disk", "show", "data")])
@pytest.mark.parametrize("key", ["wrong-key-of-somebody", "of two words", "kéy"])
def test_a_key_is_in_no_output(nobody: Pgfleet, api: Api, key: str, command: tuple[str, ...]) -> None:
    """Whether the API or the command itself refuses it."""
    nobody.monkeypatch.setenv(NAMED_URL, api.url)
    nobody.monkeypatch.setenv(NAMED_KEY, key)

    ended = nobody(*command)

    assert ended.code == 2
    assert key not in ended.out + ended.err


def test_a_database_that_is_named_goes_before_a_login_that_was_kept(nobody: Pgfleet, api: Api, dsn: str) -> None:
    """PGFLEET_URL goes before both; empty, it means no API."""
    typed(nobody, api.key_of("ada"), "login", api.url, "--key-stdin")

    by_login = nobody("whoami", "--json").json
    nobody.monkeypatch.setenv("DATABASE_URL", dsn)
    by_database = nobody("whoami", "--json").json
    nobody.monkeypatch.setenv(NAMED_URL, api.url)
    by_url = nobody("whoami", "--json").json
    nobody.monkeypatch.setenv(NAMED_URL, "")
    by_no_url = nobody("whoami", "--json").json

    assert ["api" in seen for seen in (by_login, by_database, by_url, by_no_url)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("nodes", "pgfleet nodes"),
        ("policy", "pgfleet policy"),
        ("submit disk --name data", "It"),
        ("dead reasons", "pgfleet dead reasons"),
        ("disk quarantine", "pgfleet disk quarantine"),
    ],
)
def test_what_the_api_can_not_do_says_that_it_needs_the_database(pgfleet: Pgfleet, command: str, what: str) -> None:
    ended = pgfleet(*command.split())

    assert (ended.code, f"{what} needs the database: set DATABASE_URL" in ended.err) == (2, True)


def test_help_is_that_of_the_command(pgfleet: Pgfleet) -> None:
    """The options are written once, for both ways."""
    through = pgfleet("extend", "--help").out
    pgfleet.monkeypatch.setenv(NAMED_URL, "")
    pgfleet.monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")

    assert through == pgfleet("extend", "--help").out
    assert "--request-id" in through


def test_keys_are_never_written_for_others_to_read(nobody: Pgfleet, api: Api, file: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        typed(nobody, api.key_of("ada"), "login", api.url, "--key-stdin")
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
