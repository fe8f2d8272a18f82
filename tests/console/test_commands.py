"""The `pgfleet` command: what it prints where, and how it ends."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pgfleet.console.commands.running.worker import kinds
from pgfleet.console.main import COMMANDS, load
from pgfleet.producers.submit.following import follow
from pgfleet.producers.submit.reservation import Asked, look
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, history_of, new_id, row_of, send
from worlds.reservations import QUEUE, active, create, ended, status_of

# Stands for a worker that rejects at once.
REJECT_ALL = (
    """
    create function public.reject() returns trigger language plpgsql security definer as $$
    begin
      insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at)
      values ('gpu_reservations', new.msg_id, new.message, 'gpu_type: nope is not known', now());
      return null;
    end $$
    """,
    "create trigger reject before insert on pgmq.q_gpu_reservations for each row execute function public.reject()",
)


@pytest.fixture
def pgfleet(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgfleet:
    return Pgfleet(dsn, monkeypatch, capsys)


def submit(pgfleet: Pgfleet, *more: str) -> str:
    ended = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "2", "--hours", "4", *more
    )
    assert ended.code == 0, ended.err
    return ended.out.strip()


def bodies(conn: Connection) -> list[dict[str, object]]:
    return [row[0] for row in conn.execute("select message from pgmq.q_gpu_reservations order by msg_id")]


# --- submit


def test_submit_sends_one_message_and_prints_the_id(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = submit(pgfleet, "--env", "A=b=c", "--name", "mine", "--image", "acme/x:1")

    (body,) = bodies(conn)
    assert body["reservation_id"] == row_id
    assert body["user_id"] == "ada"
    assert body["env_vars"] == {"A": "b=c"}
    assert (body["name"], body["dockerimage"], body["duration_hours"]) == ("mine", "acme/x:1", 4)


def test_the_same_id_twice_is_one_reservation(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    submit(pgfleet, "--id", row_id)

    again = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--id", row_id.upper())
    worker.run_once()
    later = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--id", row_id)

    assert (again.code, later.code) == (0, 0)
    assert "in the queue already" in again.err
    assert "exists already" in later.err
    assert history_of(conn, row_id)[0] == ("(new)", "pending")


def test_somebody_elses_id_is_refused(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, user_id="bob")

    ended = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--id", row_id)

    assert ended.code == 1
    assert "bob's" in ended.err


def test_a_dry_run_sends_nothing(pgfleet: Pgfleet, conn: Connection) -> None:
    ended = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--dry-run", "--json")

    assert ended.code == 0
    assert ended.json["starts_now"] is True
    assert bodies(conn) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--gpu-type", "nope"], "would be rejected"), (["--gpu-type", "l4", "--gpus", "16"], "a l4 node has 4")],
)
def test_a_dry_run_that_would_not_start_ends_with_1(pgfleet: Pgfleet, given: list[str], said: str) -> None:
    ended = pgfleet("submit", "reservation", *given, "--dry-run")

    assert ended.code == 1
    assert said in ended.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--gpu-type", "h100", "--gpus", "3"], "--gpus: must be 1, 2, 4, 8 or 16"),
        (["--gpu-type", "cpu-x86", "--gpus", "1"], "must be 0"),
        (["--gpu-type", "h100", "--hours", "100"], "--hours: must be at most 72, not 100"),
        (["--gpu-type", "h100", "--id", "x"], "must be a UUID"),
        (["--gpu-type", "h100", "--env", "A"], "NAME=VALUE"),
        (["--gpus", "1"], "--gpu-type"),
    ],
)
def test_a_wrong_option_is_named_and_sends_nothing(
    pgfleet: Pgfleet, conn: Connection, given: list[str], said: str
) -> None:
    ended = pgfleet("submit", "reservation", *given)

    assert ended.code == 2
    assert said in ended.err
    assert bodies(conn) == []


def test_waiting_for_a_rejected_one_ends_with_its_reason(pgfleet: Pgfleet, conn: Connection) -> None:
    for statement in REJECT_ALL:
        conn.execute(statement)

    ended = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--wait", "--json")

    assert ended.code == 1
    assert ended.json["rejected"] == "gpu_type: nope is not known"
    assert ended.error == "rejected: --gpu-type: nope is not known"


def test_waiting_stops_when_the_time_is_up(pgfleet: Pgfleet) -> None:
    ended = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--wait", "--timeout", "0")

    assert ended.code == 1
    assert "still sent: no worker has taken it yet" in ended.err


def test_an_old_dead_letter_says_nothing_about_a_new_message(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, gpu_type="nope")
    worker.run()
    letters = conn.execute("select dead_letter_id from public.dead_letters").fetchall()

    seen = look(conn, row_id, timedelta(0), Asked(row_id, known_letters=frozenset(row[0] for row in letters)))
    unaware = look(conn, row_id, timedelta(0))

    assert seen.rejected is None
    assert "not known" in (unaware.rejected or "")


def test_following_ends_when_it_is_active(conn: Connection, worker: Worker) -> None:
    row_id, told = active(conn, worker), list[str]()

    seen = follow(lambda: look(conn, row_id, timedelta(0)), None, told.append, "reservation")

    assert seen.settled
    assert not seen.failed
    assert told == ["active: 4.0 h left"]


def test_the_submit_script_works_alone(dsn: str, conn: Connection) -> None:
    command = [
        sys.executable,
        "-m",
        "pgfleet.producers.submit",
        "reservation",
        "--github-user",
        "ada",
        "--gpu-type",
        "h100",
        "--user",
        "ada",
    ]

    said = subprocess.run(command, env={"DATABASE_URL": dsn}, capture_output=True, text=True, check=True)

    assert bodies(conn)[0]["reservation_id"] == said.stdout.strip()


# --- ls, watch, cancel, extend


def test_ls_tells_position_and_reason(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=8)
    row_id = create(conn, gpu_count=4)
    worker.run_until(lambda: status_of(conn, row_id) == "queued")

    (row,) = pgfleet("ls", "--status", "queued", "--json").json
    shown = pgfleet("ls", "--status", "queued").out

    assert (row["position"], row["reason_code"]) == (1, "NO_CAPACITY")
    assert row["eta"] is not None
    assert "NO_CAPACITY" in shown
    assert "position 1, ETA at most 4.0 h" in shown


def test_watch_tells_the_whole_story_of_one(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    told = pgfleet("watch", row_id[:8], "--once", "--json").json
    shown = pgfleet("watch", row_id[:8], "--once").out

    assert [move["to_status"] for move in told["history"]] == ["pending", "preparing", "active"]
    assert told["gpus_held"] == 2
    assert {"action": "advance", "ticket": 3, "reservation_id": row_id} in [m["message"] for m in told["messages"]]
    assert "the pod is ready" in shown
    assert "what comes next" in shown


def test_watch_ends_by_itself_when_it_is_over(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = create(conn, user_id="nokeys")
    worker.run_until(lambda: status_of(conn, row_id) == "failed")
    ended(conn, worker, row_id)

    end = pgfleet("watch", row_id)

    assert end.code == 0
    assert "failed: none of nokeys has an SSH key" in end.out


# Made in one millisecond.
ALIKE = ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-7cc9-8b1b-2b4a5c6d7e8f")


def test_a_list_shows_as_much_of_an_id_as_is_needed(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    alone = create(conn)
    for row_id in ALIKE:
        create(conn, reservation_id=row_id)
    worker.run()

    shown = {row["reservation_id"]: row["short_id"] for row in pgfleet("ls", "--json").json}
    listed = pgfleet("ls").out

    assert shown == {alone: alone[:8], ALIKE[0]: "01890a5d-ac96-77", ALIKE[1]: "01890a5d-ac96-7c"}
    assert all(short in listed for short in shown.values())


@pytest.mark.parametrize("command", [["watch", "--once"], ["cancel"], ["extend", "--hours", "1"]])
def test_what_a_list_shows_of_an_id_is_enough_to_type(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, command: list[str]
) -> None:
    for row_id in ALIKE:
        create(conn, reservation_id=row_id)
    worker.run()

    assert pgfleet(command[0], "01890a5d-ac96-77", *command[1:]).code == 0
    assert pgfleet(command[0], "01890A5DAC9677", *command[1:]).code == 0, "as others write it"


@pytest.mark.parametrize("command", [["watch", "--once"], ["cancel"], ["extend", "--hours", "1"]])
def test_the_beginning_of_two_ids_lists_both(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, command: list[str]
) -> None:
    for row_id in ALIKE:
        create(conn, reservation_id=row_id)
    worker.run()

    end = pgfleet(command[0], ALIKE[0][:8], *command[1:])

    assert end.code != 0
    assert "01890a5d is the beginning of several ids of ada" in end.err
    assert all(row_id in end.err for row_id in ALIKE)


def test_an_id_of_somebody_else_does_not_make_a_beginning_ambiguous(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    create(conn, reservation_id=ALIKE[0])
    create(conn, reservation_id=ALIKE[1], user_id="bob")
    worker.run()

    assert pgfleet("watch", ALIKE[0][:8], "--once", "--json").json["reservation_id"] == ALIKE[0]


def test_what_follows_a_submit_can_be_typed_as_it_says(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    create(conn, reservation_id=ALIKE[0])
    worker.run()

    end = pgfleet(
        "submit",
        "reservation",
        "--github-user",
        "ada",
        "--gpu-type",
        "h100",
        "--id",
        ALIKE[1],
        "--wait",
        "--timeout",
        "0.1",
    )

    assert "pgfleet cancel 01890a5d-ac96-7c" in end.err


def test_cancel_ends_it(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    sent = pgfleet("cancel", row_id[:8], "--json")
    worker.run_until(lambda: status_of(conn, row_id) == "cancelled")
    again = pgfleet("cancel", row_id[:8])

    assert sent.json == {"reservation_id": row_id, "result": "cancel sent"}
    assert again.code == 0
    assert "cancelled already" in again.out


def test_cancel_may_come_before_the_create(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = new_id()

    assert pgfleet("cancel", row_id).code == 0
    assert bodies(conn) == [{"action": "cancel", "reservation_id": row_id, "user_id": "ada"}]


def test_extend_gives_more_hours(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    assert pgfleet("extend", row_id[:8], "--hours", "2").code == 0
    worker.run_until(lambda: row_of(conn, row_id)["duration_hours"] == 6)


@pytest.mark.parametrize("command", [["cancel"], ["extend", "--hours", "1"]])
def test_what_belongs_to_somebody_else_or_is_over_is_refused(
    pgfleet: Pgfleet, conn: Connection, worker: Worker, command: list[str]
) -> None:
    theirs, over = active(conn, worker, user_id="bob"), create(conn, github_user="nokeys")
    worker.run_until(lambda: status_of(conn, over) == "failed")

    assert "belongs to bob" in pgfleet(*command, theirs).err
    end = pgfleet(*command, over)

    assert end.code == 1
    assert "Too late" in end.err


def test_an_extension_past_the_limit_is_refused(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    assert pgfleet("extend", row_id, "--hours", "165").code == 1


# --- queues, types, dead


def test_queues_counts_what_waits_what_is_put_off_and_what_is_in_hand(
    pgfleet: Pgfleet, conn: Connection, worker: Worker
) -> None:
    send(conn, QUEUE, {"action": "nonsense"})
    worker.run()
    for _ in range(3):
        create(conn)
    conn.execute("select pgmq.send('gpu_reservations', '{}', 60)")
    worker.claim(1)

    depths = {row["queue"]: row for row in pgfleet("queues", "--json").json}

    found = depths["gpu_reservations"]
    assert (found["ready"], found["delayed"], found["in_hand"], found["dead"]) == (2, 1, 1, 1)
    assert found["oldest_ready_s"] >= 0
    assert depths["node_heartbeats"]["oldest_ready_s"] is None
    assert "gpu_reservations" in pgfleet("queues").out


def test_types_tells_what_is_free(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    active(conn, worker, gpu_count=8)

    found = {row["gpu_type"]: row for row in pgfleet("types", "--json").json}

    assert (found["h100"]["total_cluster_gpus"], found["h100"]["free_gpus"]) == (16, 8)
    assert found["h100"]["next_free_at"] is not None


def test_dead_letters_are_listed_shown_and_answered_once(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    send(conn, QUEUE, {"action": "nonsense"})
    worker.run()

    (letter,) = pgfleet("dead", "list", "--json").json
    number = str(letter["dead_letter_id"])

    assert "nonsense" in pgfleet("dead", "show", number).out
    assert pgfleet("dead", "replay", number).code == 0
    assert pgfleet("dead", "replay", number).code == 1
    assert pgfleet("dead", "discard", "4711").code == 1
    assert pgfleet("dead", "list", "--json").json == []


# --- the command itself


def test_help_is_there_at_once() -> None:
    """It imports nothing of what a command needs, which takes a second and more."""
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pgfleet.console.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.stderr.splitlines()}
    assert "typer" in imported
    assert imported & {"psycopg", "pydantic", "sqlalchemy", "dramatiq", "kubernetes", "boto3", "httpx"} == set()
    assert all(name in said.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"db", "migrate", "submit", "dead"}))
def test_every_command_has_help_with_an_example(pgfleet: Pgfleet, name: str) -> None:
    end = pgfleet(name, "--help")

    assert end.code == 0
    assert f"Example: pgfleet {name}" in end.out


def test_heavy_modules_are_not_imported_for_help() -> None:
    heavy = "kubernetes sqlalchemy dramatiq aiohttp psycopg"
    code = f"import sys, console.main; sys.exit([m for m in '{heavy}'.split() if m in sys.modules] or 0)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_command_is_wrong_usage(pgfleet: Pgfleet) -> None:
    end = pgfleet("lss")

    assert end.code == 2
    assert "Did you mean" in end.err


def test_a_database_that_cant_be_reached_is_told_without_the_password(
    pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:geheim@127.0.0.1:1/x")

    end = pgfleet("ls")

    assert end.code == 2
    assert "Can't reach PostgreSQL" in end.err
    assert "geheim" not in end.err


def test_a_database_without_the_schema_says_what_to_run(
    pgfleet: Pgfleet, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)

    end = pgfleet("queues")

    assert end.code == 2
    assert "pgfleet migrate" in end.err


def test_an_unknown_kind_of_worker_lists_the_known_ones(pgfleet: Pgfleet) -> None:
    end = pgfleet("worker", "nope")

    assert end.code == 2
    assert "reservation" in end.err
    assert "reservation" in kinds()


def test_a_worker_without_a_cluster_says_so_before_it_starts(pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGFLEET_KUBECONFIG", raising=False)

    end = pgfleet("worker", "reservation")

    assert end.code == 2
    assert "PGFLEET_KUBECONFIG" in end.err


def test_json_goes_to_stdout_alone(pgfleet: Pgfleet, conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    end = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--id", row_id, "--wait", "--json"
    )

    assert json.loads(end.out)["status"] == "active"
    assert "exists already" in end.err


INTERRUPTED_WHILE_CLOSING = """
import os, signal, time
from pgfleet.producers.submit.terminal import run

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)

def command(**_):
    Closing()
    time.sleep(60)

run(command)
"""


def test_ctrl_c_while_a_connection_closes_is_not_lost() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_CLOSING], capture_output=True, text=True, timeout=50, check=False
    )

    assert (ended.returncode, ended.stderr) == (130, "")


def commands(command: Any, path: str = "pgfleet") -> Iterator[tuple[str, Any]]:
    """All commands below one, with what is typed for each."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


def examples() -> list[str]:
    told = (command.epilog or "" for name in COMMANDS for _, command in commands(load(COMMANDS[name]), name))
    return sorted({each.removeprefix("Example: ") for each in told if each.startswith("Example: pgfleet ")})


def parsed(command: Any, arguments: list[str]) -> None:
    """Read arguments as the command line does, and run nothing."""
    with command.make_context(command.name, arguments) as context:
        if hasattr(command, "commands"):
            _, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])  # noqa: SLF001
            parsed(below, rest)


@pytest.mark.parametrize("example", examples())
def test_what_help_gives_as_an_example_can_be_typed(example: str) -> None:
    _, name, *arguments = shlex.split(example.partition(" | ")[0])

    parsed(load(COMMANDS[name]), arguments)
