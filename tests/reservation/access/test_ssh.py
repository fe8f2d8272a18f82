"""`pgfleet ssh`, and what people say of themselves: who they are, and what they always want."""

import os
from pathlib import Path
from typing import Any

import pytest

from pgfleet.console.commands.whoami import look
from pgfleet.producers.defaults import Defaults
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, row_of
from worlds.reservations import active, create
from worlds.strangers import own_login


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that this process would have become."""
    programs: list[list[str]] = []

    def become(_: str, arguments: list[str]) -> None:
        programs.append(arguments)

    monkeypatch.setattr(os, "execvp", become)
    return programs


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("PGFLEET_CONFIG", str(path))
    return path


def test_ssh_is_run_with_the_address_of_the_reservation(
    conn: Connection, worker: Worker, pgfleet: Pgfleet, went: list[list[str]]
) -> None:
    row = row_of(conn, active(conn, worker))

    pgfleet("ssh", row["reservation_id"], "--", "nvidia-smi", "-L")

    (command,) = went
    assert command[:3] == ["ssh", "-p", str(row["node_port"])]
    assert command[-3:] == [f"dev@{row['node_ip']}", "nvidia-smi", "-L"]
    assert f"HostKeyAlias={row['pod_name']}" in command


def test_a_host_block_has_what_other_programs_need(conn: Connection, worker: Worker, pgfleet: Pgfleet) -> None:
    row = row_of(conn, active(conn, worker, name="train"))

    block = pgfleet("ssh", row["reservation_id"], "--config").out.splitlines()

    assert block == [
        "Host train",
        f"  HostName {row['node_ip']}",
        f"  Port {row['node_port']}",
        "  User dev",
        f"  HostKeyAlias {row['pod_name']}",
        "  StrictHostKeyChecking accept-new",
    ]


def test_a_name_that_is_more_than_a_name_is_no_host(conn: Connection, worker: Worker, pgfleet: Pgfleet) -> None:
    row_id = active(conn, worker, name="x ProxyCommand evil")

    block = pgfleet("ssh", row_id, "--config").out.splitlines()

    assert block[0] == f"Host pgfleet-{row_id[:8]}"


def test_an_address_that_ssh_would_obey_is_refused(
    conn: Connection, worker: Worker, pgfleet: Pgfleet, went: list[list[str]]
) -> None:
    row_id = active(conn, worker)
    conn.execute("update public.reservations set node_ip = '-oProxyCommand=evil'")

    end = pgfleet("ssh", row_id)

    assert end.code == 1
    assert went == []


def test_nobody_gets_in_before_it_is_active(
    conn: Connection, worker: Worker, pgfleet: Pgfleet, went: list[list[str]]
) -> None:
    row_id = create(conn, gpu_count=8)
    worker.run_once()

    end = pgfleet("ssh", row_id)

    assert "one gets in while it is active" in end.err
    assert went == []


def test_ls_mine_lists_nobody_elses_though_all_are_asked_for(
    conn: Connection, worker: Worker, pgfleet: Pgfleet
) -> None:
    create(conn)
    create(conn, user_id="eve")
    worker.run()

    found = pgfleet("ls", "--all", "--mine", "--json").json

    assert {row["user_id"] for row in found} == {"ada"}
    assert pgfleet("ls", "--mine", "--everybody").code == 2


def test_whoami_tells_whom_the_database_sees(conn: Connection, pgfleet: Pgfleet) -> None:
    seen = pgfleet("whoami", "--json").json

    assert (seen["user"], seen["login"], seen["is_owner"]) == ("ada", "postgres", True)
    assert "it owns the tables" in pgfleet("whoami").out


def test_whoami_is_for_a_login_that_may_do_little(conn: Connection) -> None:
    conn.execute("select public.switch_row_level_security(true)")

    with own_login(conn, "ada") as ada:
        seen = look(ada)

    assert (seen["login"], seen["speaks_for"], seen["roles"], seen["is_owner"]) == (
        "ada",
        "ada",
        ["pgfleet_user"],
        False,
    )


def queued(conn: Connection) -> dict[str, Any]:
    rows = conn.execute("select message from pgmq.q_gpu_reservations order by msg_id desc").fetchall()
    message: dict[str, Any] = rows[0][0]
    return message


def test_what_a_person_always_wants_is_in_a_file(conn: Connection, pgfleet: Pgfleet, config: Path) -> None:
    config.write_text('gpu_type = "h100"\ngpus = 2\nhours = 3\ngithub_user = "lovelace"\njupyter = true\n')

    pgfleet("submit", "reservation")

    sent = queued(conn)
    asked = [sent[name] for name in ("gpu_type", "gpu_count", "duration_hours", "github_user", "jupyter_enabled")]
    assert asked == ["h100", 2, 3, "lovelace", True]


def test_who_else_gets_in_and_how_it_starts_are_options(conn: Connection, pgfleet: Pgfleet) -> None:
    options = ("--jupyter", "--with-user", "bob", "--with-user", "carol", "--command", "train", "--keep-entrypoint")
    pgfleet("submit", "reservation", "--gpu-type", "h100", *options)

    sent = queued(conn)
    asked = [sent[name] for name in ("jupyter_enabled", "secondary_users", "command", "preserve_entrypoint")]
    assert asked == [True, ["bob", "carol"], "train", True]


def test_an_option_goes_before_the_file(conn: Connection, pgfleet: Pgfleet, config: Path) -> None:
    config.write_text('gpu_type = "h100"\ngpus = 2\njupyter = true\n')

    pgfleet("submit", "reservation", "--gpu-type", "t4", "--no-jupyter")

    sent = queued(conn)
    assert (sent["gpu_type"], sent["gpu_count"], sent["jupyter_enabled"]) == ("t4", 1, False)


def test_nobody_else_gets_in_by_the_keys_of_the_file(conn: Connection, pgfleet: Pgfleet, config: Path) -> None:
    config.write_text('github_user = "lovelace"\n')

    pgfleet("submit", "reservation", "--gpu-type", "h100", "--user", "eve")

    assert queued(conn).get("github_user") is None


def test_the_user_of_the_file_is_whom_commands_ask_for(
    conn: Connection, pgfleet: Pgfleet, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGFLEET_USER")
    config.write_text('user = "grace"\n')

    assert pgfleet("whoami", "--json").json["user"] == "grace"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hour = 3", "hour: is not known; did you mean hours?"),
        ("hours = 100", "hours: must be at most 72, not 100"),
        ('jupyter = "yes"', "jupyter: "),
        ("hours 3", "Expected '='"),
    ],
)
def test_a_file_that_can_not_be_used_says_which_and_why(
    conn: Connection, pgfleet: Pgfleet, config: Path, text: str, told: str
) -> None:
    config.write_text(f"{text}\n")

    end = pgfleet("submit", "reservation", "--gpu-type", "h100", "--json")

    assert end.code == 2
    assert str(config) in end.error
    assert told in end.error
    assert conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone() == (0,)


def test_every_default_is_an_option_of_the_command(conn: Connection, pgfleet: Pgfleet) -> None:
    shown = pgfleet("submit", "reservation", "--help").out

    for name in Defaults.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
