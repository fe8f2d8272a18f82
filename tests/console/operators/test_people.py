"""`pgfleet keys` and `pgfleet accounts`: a key is shown once, a password never, and errors say what to do."""

import io
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.identity.signing import begin
from pgfleet.schema.identity.speaking import Origin
from worlds.commands import Ended, Pgfleet
from worlds.database import Connection
from worlds.strangers import stranger_dsn

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts in tests
ADA = "ada@example.org"


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        conn.execute("truncate autoscaler.users, public.api_users, public.sign_in_failures cascade")
        conn.execute("delete from autoscaler.audit_logs")
        yield conn


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that goes to the server from now on, with its parameters."""
    seen: list[str] = []
    execute = psycopg.Cursor.execute

    def watched(cursor: Any, query: Any, params: Any = None, **more: Any) -> Any:
        seen.append(f"{query!r} {params!r}")
        return execute(cursor, query, params, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    return seen


@pytest.fixture
def typed(pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command with something on its stdin."""

    def run(text: str, *arguments: str) -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return pgfleet(*arguments)

    return run


def one(conn: Connection, statement: str) -> Any:
    row = conn.execute(statement.encode()).fetchone()
    return row and row[0]


def test_a_key_is_the_answer_and_is_nowhere_else(pgfleet: Pgfleet, conn: Connection, statements: list[str]) -> None:
    end = pgfleet("keys", "create", "ci-bot", "--description", "nightly")

    key = end.out.strip()
    assert (end.code, len(key), "shown once" in end.err) == (0, 86, True)
    written = one(conn, "select jsonb_agg(to_jsonb(a))::text from autoscaler.audit_logs a")
    listed = pgfleet("keys", "--json")
    for text in (end.err, written, listed.out, *statements):
        assert key not in text
        assert keys.hash_of(key) not in written + listed.out
    found = keys.principal_of(conn, key)
    assert found is not None
    assert found.username == "ci-bot"


def test_keys_are_listed_and_revoked(pgfleet: Pgfleet, conn: Connection) -> None:
    made = pgfleet("keys", "create", "ada", "--hours", "12", "--json").json
    pgfleet("keys", "create", "bob")

    listed = pgfleet("keys", "list", "--user", "ada", "--json").json
    shown = pgfleet("keys").out
    revoked = pgfleet("keys", "revoke", made["key"][:8]).out
    left = pgfleet("keys", "ls", "--user", "ada").out
    all_of_them = pgfleet("keys", "ls", "--user", "ada", "--all", "--json").json

    assert [row["key_prefix"] for row in listed] == [made["key"][:8]]
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(listed[0]["created_at"])
    assert life.total_seconds() == 12 * 3600
    assert ("ada" in shown, "bob" in shown) == (True, True)
    assert revoked == f"key {made['key_id']} ({made['key'][:8]}) of ada revoked\n"
    assert left == "There are no keys. `pgfleet keys create` makes one.\n"
    assert [row["is_active"] for row in all_of_them] == [False]


def test_a_setting_says_how_long_keys_last(pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_KEY_HOURS", "1")
    monkeypatch.setenv("PGFLEET_KEY_MAX_HOURS", "10")

    made = pgfleet("keys", "create", "ada")
    refused = pgfleet("keys", "create", "ada", "--hours", "11")

    assert made.code == 0
    assert one(conn, "select extract(epoch from expires_at - created_at)::int from public.api_keys") == 3600
    assert (refused.code, refused.out) == (1, "")
    assert "1 second to 10 hours, not for 11 hours" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create", "a b"), "a username can't be a b"),
        (("keys", "create", ""), "a username can't be"),
        (("keys", "create", "x" * 10_000), "at most 1000 characters"),
        (("keys", "create", "ada", "--hours", "0"), "A key lasts for"),
        (("keys", "revoke", "999999999"), "there is no active key 999999999"),
        (("keys", "revoke", "'; --"), "there is no active key"),
        (("accounts", "role", "nobody@example.org", "ADMIN"), "there is no account nobody@example.org"),
        (("accounts", "bind", "nobody@example.org", "ada"), "there is no account"),
        (("accounts", "unlock", "999999"), "there is no account 999999"),
        (("accounts", "add", "no e-mail", "--no-password"), "an e-mail can't be no e-mail"),
        (("accounts", "add", ADA, "--no-password", "--role", "boss"), "a role can't be BOSS"),
    ],
)
def test_what_can_not_be_done_says_why(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...], said: str
) -> None:
    end = pgfleet(*arguments)

    assert (end.code, end.out) == (1, "")
    assert said in end.err


def test_the_first_administrator_is_made_at_the_database(pgfleet: Pgfleet, typed: Any, conn: Connection) -> None:
    end = typed(f"{PASSWORD}\n", "accounts", "add", ADA, "--name", "Ada", "--role", "admin", "--password-stdin")

    (row,) = pgfleet("accounts", "--json").json
    assert (end.code, end.out) == (0, f"account {row['id']}, {ADA}: made, as ADMIN\n")
    assert (row["role"], row["full_name"], row["has_password"], row["username"]) == ("ADMIN", "Ada", True, ADA)
    begin(conn, ADA, Origin()).check(PASSWORD)


def test_a_password_is_in_no_text_but_its_hash(typed: Any, conn: Connection, statements: list[str]) -> None:
    ends = [
        typed(f"{PASSWORD}\n", "accounts", "add", ADA, "--password-stdin"),
        typed("another one, as long\n", "accounts", "password", ADA, "--password-stdin", "--json"),
        typed("short\n", "accounts", "password", ADA, "--password-stdin"),
    ]

    assert [end.code for end in ends] == [0, 0, 1]
    written = one(conn, "select jsonb_agg(to_jsonb(a))::text from autoscaler.audit_logs a")
    for text in (written, *statements, *(end.out + end.err for end in ends)):
        assert PASSWORD not in text
        assert "another one" not in text
    assert one(conn, "select hashed_password from autoscaler.users") not in written
    begin(conn, ADA, Origin()).check("another one, as long")


def test_where_nobody_can_be_asked_for_a_password_it_says_how_to_give_one(typed: Any, conn: Connection) -> None:
    end = typed("", "accounts", "add", ADA)

    assert (end.code, "--password-stdin" in end.err) == (2, True)
    assert one(conn, "select count(*) from autoscaler.users") == 0


def test_a_password_that_is_typed_is_not_shown(
    pgfleet: Pgfleet, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def prompt(_: str, **how: Any) -> str:
        asked.append(how)
        return PASSWORD

    monkeypatch.setattr("typer.prompt", prompt)

    end = pgfleet("accounts", "add", ADA)

    assert (end.code, PASSWORD in end.out + end.err) == (0, False)
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]


def test_without_bcrypt_the_extra_is_named(typed: Any, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)

    end = typed(f"{PASSWORD}\n", "accounts", "add", ADA, "--password-stdin")
    other = typed("", "accounts", "add", ADA, "--no-password")

    assert (end.code, "pip install 'pgfleet[serve]'" in end.err) == (2, True)
    assert other.code == 0


def test_an_account_is_changed_by_its_email_or_its_number(pgfleet: Pgfleet, conn: Connection) -> None:
    number = str(accounts.add(conn, ADA))
    accounts.add(conn, "root@example.org", role="ADMIN")

    ends = [
        pgfleet("accounts", "role", ADA, "devops").out,
        pgfleet("accounts", "deactivate", number).out,
        pgfleet("accounts", "activate", ADA.upper()).out,
        pgfleet("accounts", "unlock", ADA).out,
        pgfleet("accounts", "bind", ADA, "ada").out,
    ]

    assert ends == [
        f"{ADA} is DEVOPS\n",
        f"{number} is let in no more\n",
        f"{ADA.upper()} is let in\n",
        f"{ADA} unlocked: wrong passwords from 0 addresses are forgotten\n",
        f"{ADA} is ada\n",
    ]
    (row,) = pgfleet("accounts", "ls", ADA, "--json").json
    assert (row["role"], row["role_override"], row["is_active"], row["username"]) == ("DEVOPS", True, True, "ada")
    assert "DEVOPS (given)" in pgfleet("accounts").out


def test_the_last_administrator_stays(pgfleet: Pgfleet, conn: Connection) -> None:
    accounts.add(conn, ADA, role="ADMIN")

    ends = [pgfleet("accounts", "deactivate", ADA), pgfleet("accounts", "role", ADA, "USER", "--json")]

    assert [(end.code, end.out) for end in ends] == [(1, ""), (1, "")]
    assert "it is the last active ADMIN" in ends[1].error


def test_what_others_have_written_moves_no_cursor(pgfleet: Pgfleet, conn: Connection) -> None:
    accounts.add(conn, ADA, full_name="\x1b[31mred\nline")
    keys.make(conn, ADA, hours=1, description="\x1b[2Jgone")

    shown = pgfleet("accounts").out + pgfleet("keys").out

    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 4


@pytest.mark.parametrize("role", ["pgfleet_user", "pgfleet_monitor", "pgfleet_serve"])
def test_a_login_of_somebody_else_makes_nothing(
    pgfleet: Pgfleet, conn: Connection, fleet_dsn: str, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    with stranger_dsn(fleet_dsn, role=role, queues=()) as own:
        monkeypatch.setenv("DATABASE_URL", own)

        ends = [
            pgfleet("keys", "create", "eve"),
            pgfleet("accounts", "add", "eve@example.org", "--role", "ADMIN", "--no-password"),
            pgfleet("accounts", "ls"),
        ]

    assert [(end.code != 0, end.out) for end in ends] == [(True, "")] * 3
    assert one(conn, "select count(*) from public.api_users") == 0


@pytest.mark.parametrize("command", ["create", "ls", "revoke"])
def test_every_command_of_keys_has_an_example(pgfleet: Pgfleet, conn: Connection, command: str) -> None:
    assert "Example: pgfleet keys" in pgfleet("keys", command, "--help").out


@pytest.mark.parametrize("command", ["ls", "add", "role", "activate", "deactivate", "password", "unlock", "bind"])
def test_every_command_of_accounts_has_an_example(pgfleet: Pgfleet, conn: Connection, command: str) -> None:
    assert "Example: pgfleet accounts" in pgfleet("accounts", command, "--help").out
