"""What a person reads after a slip, after Ctrl-C and after `extend`, and by which code a command ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgfleet.producers.submit.options import in_options
from pgfleet.producers.submit.terminal import ENDS, EXITS
from worlds.commands import Pgfleet
from worlds.fleet import PATIENCE_S, Connection, Worker, new_id, row_of, until
from worlds.reservations import active, ask, create, letters

PROGRAM = [sys.executable, "-m", "pgfleet.console.main"]


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def sent(conn: Connection) -> int:
    found = conn.execute("select count(*) from pgmq.q_gpu_reservations").fetchone()
    return int(found[0]) if found else -1


# --- before anything is sent


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--gpu-type", "h1000"), "--gpu-type: h1000 is not known; did you mean h100? There are h100, "),
        (("--gpu-type", "colossus"), "--gpu-type: colossus is not known. There are "),
        (("--gpu-type", "l4", "--gpus", "16"), "--gpus: a l4 node has 4 GPUs, not 16"),
    ],
)
def test_what_no_worker_would_take_is_refused_before_it_is_sent(
    pgfleet: Pgfleet, conn: Connection, given: tuple[str, ...], said: str
) -> None:
    end = pgfleet("submit", "reservation", *given)

    assert end.code == 1
    assert said in end.err
    assert sent(conn) == 0


@pytest.mark.parametrize("typed", ["H100", " h100 ", "H 100"])
def test_letter_case_and_spaces_of_a_type_are_understood(pgfleet: Pgfleet, conn: Connection, typed: str) -> None:
    end = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", typed)

    assert end.code == 0
    body = conn.execute("select message->>'gpu_type' from pgmq.q_gpu_reservations").fetchone()
    assert body == ("h100",)


def test_a_disk_of_another_size_is_refused_before_it_is_sent(pgfleet: Pgfleet, conn: Connection) -> None:
    conn.execute(
        "insert into public.disks (user_id, disk_name, size_gb, status) values ('ada', 'data', 100, 'creating')"
    )

    end = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--disk", "data", "--disk-size", "200"
    )

    assert (end.code, sent(conn)) == (1, 0)
    assert "disk data has 100 GB, not 200" in end.err


def test_a_disk_that_does_not_exist_is_refused_with_the_nearest_name(pgfleet: Pgfleet, conn: Connection) -> None:
    conn.execute(
        "insert into public.disks (user_id, disk_name, size_gb, status) values ('ada', 'data', 100, 'creating')"
    )

    end = pgfleet("submit", "disk", "--action", "snapshot_disk", "--name", "dtaa")

    assert end.code == 1
    assert "ada has no disk dtaa. Did you mean data?" in end.err


def test_errors_name_options_at_the_prompt_and_parts_of_them() -> None:
    told = in_options("env_vars.A: must be text; gpu_count: is missing", {"env_vars": "--env", "gpu_count": "--gpus"})

    assert told == "--env.A: must be text; --gpus: is missing"


# --- how commands end


def test_the_codes_are_in_the_help_and_on_the_page(pgfleet: Pgfleet) -> None:
    shown = " ".join(pgfleet("--help").out.split())
    page = Path("console/README.md").read_text("utf-8")

    assert ENDS in shown
    for code, meaning in EXITS.items():
        assert f"| {code} | {meaning}" in page


ENDINGS: list[tuple[tuple[str, ...], int]] = [
    (("ls",), 0),
    (("types",), 0),
    (("queues",), 0),
    (("dead", "list"), 0),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100"), 0),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--dry-run"), 0),
    (("--version",), 0),
    (("submit", "--version"), 0),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h1000"), 1),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h1000", "--dry-run"), 1),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--wait", "--timeout", "0"), 1),
    (("watch", "0000", "--once"), 1),
    (("cancel", "0000"), 1),
    (("extend", "0000", "--hours", "1"), 1),
    (("retry", "0000"), 1),
    (("dead", "show", "17"), 1),
    (("disk", "show", "none"), 1),
    (("logs", "0000"), 1),
    (("ls", "--status", "nope"), 2),
    (("ls", "--nope"), 2),
    (("nope",), 2),
    (("disk", "nope"), 2),
    (("extend", "0000"), 2),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "3"), 2),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--at", "in 99999999 d"), 2),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--wait", "--timeout", "nan"), 2),
    (("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--wait", "--timeout", "-1"), 2),
    (("nodes", "cordon", "gpu-1", "--until", "soon"), 2),
    (("submit", "heartbeat"), 2),
    (("worker", "nope"), 2),
]


@pytest.mark.parametrize(("command", "code"), ENDINGS, ids=str)
def test_each_command_ends_as_the_table_says(pgfleet: Pgfleet, command: tuple[str, ...], code: int) -> None:
    assert pgfleet(*command).code == code


@pytest.mark.parametrize(
    "command",
    [
        ("ls", "--nope", "--json"),
        ("ls", "--json", "--status", "nope"),
        ("watch", "0000", "--json"),
        ("submit", "reservation", "--github-user", "ada", "--gpu-type", "h1000", "--json"),
        ("submit", "reservation", "--json"),
        ("nope", "--json"),
    ],
)
def test_with_json_an_error_is_json(pgfleet: Pgfleet, command: tuple[str, ...]) -> None:
    end = pgfleet(*command)

    assert end.out == ""
    assert json.loads(end.err)["exit_code"] == end.code
    assert end.error


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("subimt",), "Did you mean 'submit'?"),
        (("extend", "0000", "--hors", "1"), "did you mean --hours?"),
        (("ls", "--status", "actve"), "Did you mean active?"),
        (("submit", "reservaton"), "Did you mean 'reservation'?"),
    ],
)
def test_a_slip_is_told_what_was_meant(pgfleet: Pgfleet, command: tuple[str, ...], said: str) -> None:
    assert said in pgfleet(*command).err


@pytest.mark.parametrize("nothing", ["", " ", "\t"])
@pytest.mark.parametrize(
    "command", ["cancel", "watch", "logs", "ssh", "retry", "release --force", "extend --hours 1", "add-user eve"]
)
def test_an_id_that_is_empty_means_none_and_not_the_only_one(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, command: str, nothing: str
) -> None:
    conn.execute("delete from pgmq.q_gpu_reservations")
    assert pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100").code == 0
    worker.run()
    name, *options = command.split()

    end = pgfleet(name, nothing, *options)

    assert (end.code, "whose id begins with nothing" in end.err) == (1, True)
    assert conn.execute("select count(*) from pgmq.q_gpu_reservations where message ? 'user_id'").fetchone() == (0,)


@pytest.mark.parametrize(
    "command",
    [
        ("cancel", "\udcff"),
        ("ls", "--user", "a\udcff"),
        ("disk", "show", "\udcff", "--json"),
        ("hopsworks", "show", "\udcff"),
        ("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--name", "\udcff"),
    ],
)
def test_bytes_that_are_no_text_are_wrong_usage(pgfleet: Pgfleet, command: tuple[str, ...]) -> None:
    end = pgfleet(*command)

    assert end.code == 2
    assert "is no UTF-8 text" in end.err


@pytest.mark.parametrize(
    "command",
    [
        ("ls", "--limit", "99999999999999999999"),
        ("worker", "reservation", "--processes", "99999999999"),
        ("dead", "show", "99999999999999999999"),
    ],
)
def test_a_number_that_is_too_large_is_told_as_such_and_not_as_the_databases(
    pgfleet: Pgfleet, command: tuple[str, ...]
) -> None:
    end = pgfleet(*command)

    assert end.code == 2
    assert "Input should be less than or equal to" in end.err


def test_the_database_that_is_not_there_ends_with_2(pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")

    assert pgfleet("ls", "--json").code == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_says_that_it_goes_on(dsn: str, conn: Connection, *, as_json: bool) -> None:
    command = [
        *PROGRAM,
        "submit",
        "reservation",
        "--github-user",
        "ada",
        "--gpu-type",
        "h100",
        "--wait",
        *(["--json"] * as_json),
    ]
    process = subprocess.Popen(command, env=told(dsn), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: sent(conn) == 1)
    assert process.stderr is not None
    while "no worker has taken it" not in process.stderr.readline():
        pass

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert "It goes on: pgfleet watch" in err
    assert not as_json or json.loads(err.splitlines()[-1])["exit_code"] == 130


def test_letters_that_a_terminal_does_not_know_are_no_traceback(dsn: str, conn: Connection) -> None:
    create(conn, name="Münster", user_id="jürgen")
    command = [*PROGRAM, "watch", "--user", "jürgen", "--once"]
    row_id = conn.execute("select message->>'reservation_id' from pgmq.q_gpu_reservations").fetchone() or ("",)
    plain = {**told(dsn), "PYTHONIOENCODING": "ascii"}

    ls = subprocess.run([*PROGRAM, "dead", "show", "ü"], env=plain, capture_output=True, text=True, check=False)
    seen = subprocess.run([*command, row_id[0], "--json"], env=plain, capture_output=True, text=True, check=False)

    assert "Traceback" not in ls.stderr
    assert "Traceback" not in seen.stderr
    assert json.loads(seen.stdout)["reservation_id"] == row_id[0]


def test_an_answer_that_can_not_be_written_is_told_with_what_goes_on(dsn: str) -> None:
    command = [*PROGRAM, "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--json"]

    with Path("/dev/full").open("w") as full:
        end = subprocess.run(command, env=told(dsn), stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert end.returncode == 1
    assert "The answer can't be written: No space left on device." in json.loads(end.stderr.splitlines()[-1])["error"]


def test_who_closes_the_answer_reads_none(dsn: str, conn: Connection) -> None:
    command = " ".join([*PROGRAM, "submit reservation --github-user ada --gpu-type h100 --json >&-"])

    end = subprocess.run(["sh", "-c", command], env=told(dsn), stderr=subprocess.PIPE, text=True, check=False)

    assert (end.returncode, "Traceback" in end.stderr, sent(conn)) == (0, False, 1)


def told(dsn: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": dsn, "PGFLEET_USER": "ada"}


# --- extend, ls, watch


def test_extend_says_until_when_and_watch_says_who_did_it(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    end = pgfleet("extend", row_id[:8], "--hours", "2")
    worker.run()
    shown = pgfleet("watch", row_id, "--once").out

    until = f"{row_of(conn, row_id)['expires_at']:%Y-%m-%d %H:%M:%S} UTC"
    assert f"by 2 h, until {until} instead of" in end.out
    assert f"by 2 h, until {until} (ada)" in shown
    assert "extended" in shown


def test_the_same_extend_again_is_told_as_done(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id, request = active(conn, worker), new_id()
    pgfleet("extend", row_id, "--hours", "2", "--request-id", request)
    worker.run()

    again = pgfleet("extend", row_id, "--hours", "2", "--request-id", request, "--wait", "--json")

    assert (again.code, again.json["result"]) == (0, "extended")
    assert sent_extends(conn) == []
    assert row_of(conn, row_id)["duration_hours"] == 6


def test_an_extend_with_the_id_of_another_is_not_told_as_done(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    row_id = active(conn, worker)
    pgfleet("extend", row_id, "--hours", "2", "--request-id", "r")
    worker.run()

    other = pgfleet("extend", row_id, "--hours", "3", "--request-id", "r")
    worker.run()

    assert "extend sent: by 3 h" in other.out
    assert letters(conn)[0].startswith("request_id: r was used for another extend (by 2 h, until ")
    assert row_of(conn, row_id)["duration_hours"] == 6


def sent_extends(conn: Connection) -> list[Any]:
    return conn.execute("select 1 from pgmq.q_gpu_reservations where message->>'action' = 'extend'").fetchall()


def test_an_id_of_a_request_that_is_empty_is_none(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    """Twice the same empty one would be two extends."""
    row_id = active(conn, worker)

    refused = pgfleet("extend", row_id, "--hours", "2", "--request-id", "")
    too_many = pgfleet("extend", row_id, "--hours", "inf")

    assert (refused.code, too_many.code, sent_extends(conn)) == (2, 2, [])
    assert "--request-id" in refused.err
    assert "--hours" in too_many.err


def test_a_rejected_extend_is_told_with_its_reason(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "extend", row_id, extension_hours=1000, request_id="too-much")
    worker.run()

    assert "hours in total" in letters(conn)[0]
    assert pgfleet("extend", row_id, "--hours", "1000").code == 1


def test_ls_lists_ones_own_and_with_everybody_all(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    mine, theirs = active(conn, worker), active(conn, worker, user_id="bob")

    own, everybody = pgfleet("ls", "--json").json, pgfleet("ls", "--everybody", "--json").json
    bobs = pgfleet("ls", "--user", "bob", "--json").json

    assert [row["reservation_id"] for row in own] == [mine]
    assert [row["reservation_id"] for row in bobs] == [theirs]
    assert {row["reservation_id"] for row in everybody} == {mine, theirs}


def test_ls_of_a_type_understands_its_case_and_refuses_one_that_is_not(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    mine = active(conn, worker)
    gpu_type = pgfleet("ls", "--json").json[0]["gpu_type"]

    found, refused = pgfleet("ls", "--gpu-type", gpu_type.upper(), "--json"), pgfleet("ls", "--gpu-type", "h1000")

    assert [row["reservation_id"] for row in found.json] == [mine]
    assert refused.code == 1
    assert "There is no GPU type h1000. Did you mean h100?" in refused.err


def test_one_that_is_over_shows_no_way_in(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    live = pgfleet("watch", row_id, "--once").out

    ask(conn, "cancel", row_id)
    worker.run()

    assert "ssh -p" in live
    assert "ssh -p" not in pgfleet("watch", row_id, "--once").out
