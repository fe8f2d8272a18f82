"""Reservations asked for, looked at and changed through the API, with no database."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pgfleet.console.remote import client, following
from pgfleet.console.sandbox.box import Box
from pgfleet.producers.http.shapes.reservations import Reservation
from worlds.api.server import Api
from worlds.commands import Ended, Pgfleet
from worlds.fleet import Worker, new_id, until
from worlds.reservations import status_of


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    """A worker at work beside the test."""
    ends = threading.Event()

    def work() -> None:
        while not ends.is_set():
            if not worker.run_once():
                ends.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def last(ended: Ended) -> str:
    """What the command has printed: before it is what the worker logs."""
    return ended.out.splitlines()[-1]


def submit(pgfleet: Pgfleet, *more: str) -> str:
    ended = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--gpus", "2", *more)
    assert ended.code == 0, ended.err
    return last(ended)


def active(pgfleet: Pgfleet) -> str:
    row_id = new_id()
    submit(pgfleet, "--id", row_id, "--wait")
    return row_id


def test_who_submits_and_waits_gets_the_command_for_ssh(pgfleet: Pgfleet, worker: Worker) -> None:
    """From the prompt to the pod without a database."""
    with working(worker):
        said = submit(pgfleet, "--wait", "--name", "mine")

    assert said.startswith("ssh ")


def test_what_was_submitted_is_listed_and_shown(pgfleet: Pgfleet, api: Api) -> None:
    """By the same columns as at the database."""
    row_id = submit(pgfleet)

    shown, whole = pgfleet("watch", row_id[:8], "--once"), pgfleet("watch", row_id, "--once", "--json").json

    assert "2 x h100" in shown.out
    assert (whole["reservation_id"], whole["status"], whole["user_id"]) == (row_id, "pending", "ada")
    assert [each["what"] for each in whole["coming"]] == ["create_reservation"]


def test_a_dry_run_says_that_it_would_start_and_sends_nothing(pgfleet: Pgfleet, api: Api) -> None:
    asked = ("submit", "reservation", "--gpu-type", "h100", "--gpus", "1", "--dry-run")

    told, as_json = pgfleet(*asked), pgfleet(*asked, "--json").json

    assert told.out.startswith("would ")
    assert set(as_json) >= {"starts_now", "reason_code", "reason", "eta", "ahead", "would_hold"}
    assert api.conn.execute("select count(*) from public.reservations").fetchone() == (0,)


def test_a_field_that_is_wrong_is_named_as_the_option_that_was_typed(pgfleet: Pgfleet) -> None:
    """Whether it is seen here or by the API."""
    ended = pgfleet("submit", "reservation", "--gpu-type", "h100", "--gpus", "3")
    row_id = submit(pgfleet)
    extended = pgfleet("extend", row_id, "--hours", "-1")
    unnamed = pgfleet("extend", row_id, "--hours", "1", "--request-id", "")
    endless = pgfleet("extend", row_id, "--hours", "inf")

    assert (ended.code, "--gpus" in ended.err) == (2, True)
    assert (extended.code, "--hours" in extended.err) == (2, True)
    assert (unnamed.code, "--request-id" in unnamed.err) == (2, True)
    assert (endless.code, "--hours" in endless.err) == (2, True)


def test_one_that_is_active_is_extended_shared_and_ended(pgfleet: Pgfleet, worker: Worker, api: Api) -> None:
    """Each is followed until the worker has done it."""
    with working(worker):
        row_id = active(pgfleet)
        extended = pgfleet("extend", row_id[:8], "--hours", "2", "--wait")
        shared = pgfleet("add-user", row_id, "grace", "--wait")
        entered = pgfleet("ssh", row_id)
        cancelled = pgfleet("cancel", row_id)
        watched = pgfleet("watch", row_id)

    assert (extended.code, last(extended)[:14]) == (0, "extended by 2 "), extended.err
    assert (shared.code, "grace" in shared.out) == (0, True), shared.err
    assert last(entered).startswith("ssh ")
    assert (cancelled.code, last(cancelled)) == (0, f"{row_id} cancel sent")
    assert (watched.code, "cancelled" in watched.out) == (0, True)


def test_what_has_moved_between_two_looks_is_seen_at_once(pgfleet: Pgfleet, worker: Worker, api: Api) -> None:
    """Who only asks to wait for the next move would wait for as long as it may."""
    row_id = submit(pgfleet)
    followed = following.Reservation(client.api(), row_id)
    before = followed.look()
    worker.run_until(lambda: status_of(api.conn, row_id) == "active")

    began = time.monotonic()
    after = followed.look()

    assert (before.settled, after.settled) == (False, True)
    assert time.monotonic() - began < client.HOLD_S / 2


def test_what_only_starts_later_and_later_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ETA is another one at each look, so that no look waits."""
    asked, paused = iter(range(100)), list[float]()
    row = {**dict.fromkeys(Reservation.model_fields), "reservation_id": new_id()}

    def answer(path: str, seen: client.Seen | None) -> client.Seen:
        number = next(asked)
        status = "queued" if number < 2 else "cancelled"
        return client.Seen({**row, "status": status, "eta": f"2026-12-01T12:00:{number:02}Z"}, f'"{number}"')

    there = client.Api("http://127.0.0.1:9", "key")
    monkeypatch.setattr(there, "once_changed", answer)
    monkeypatch.setattr(time, "sleep", paused.append)
    followed = following.Reservation(there, str(row["reservation_id"]))

    looks = [followed.look() for _ in range(3)]

    assert [look.failed for look in looks] == [False, False, True]
    assert paused == [following.ETA_S], "what has moved is told at once"


def test_jupyter_is_switched_on_and_off(pgfleet: Pgfleet, worker: Worker) -> None:
    with working(worker):
        row_id = active(pgfleet)
        on = pgfleet("jupyter", "on", row_id, "--wait")
        shown = pgfleet("jupyter", "show", row_id)
        off = pgfleet("jupyter", "off", row_id, "--wait")

    assert (on.code, last(on).startswith("http")) == (0, True), on.err
    assert last(shown) == last(on)
    assert "token" not in last(on)
    assert off.code == 0, off.err


def test_an_ended_one_is_asked_for_again(pgfleet: Pgfleet, worker: Worker) -> None:
    """Twice it is one reservation, as the id says."""
    with working(worker):
        row_id = submit(pgfleet)
        pgfleet("cancel", row_id)
        pgfleet("watch", row_id)
        again = pgfleet("retry", row_id, "--wait")
        twice = [pgfleet("retry", row_id) for _ in range(2)]

    assert again.code == 0, again.err
    assert last(again).startswith("ssh ")
    assert [ended.code for ended in twice] == [0, 0], twice[0].err
    assert len({last(ended) for ended in twice}) == 1


def test_an_extension_that_is_sent_again_is_done_once(pgfleet: Pgfleet, worker: Worker, api: Api) -> None:
    """By its request id, which is the Idempotency-Key."""
    with working(worker):
        row_id = active(pgfleet)
        for _ in range(2):
            pgfleet("extend", row_id, "--hours", "2", "--request-id", "friday", "--wait", "--timeout", "5")

    found = api.conn.execute("select duration_hours from public.reservations where reservation_id = %s", (row_id,))
    assert found.fetchone() == (10,)


def test_logs_of_an_ended_one_are_what_is_kept(pgfleet: Pgfleet, worker: Worker, box: Box) -> None:
    with working(worker):
        row_id = active(pgfleet)
        pgfleet("cancel", row_id)
        pgfleet("watch", row_id)

    ended = pgfleet("logs", row_id, "--json")

    assert (ended.code, ended.json["reservation_id"], ended.json["status"]) == (0, row_id, "cancelled")


def test_anothers_is_not_there(pgfleet: Pgfleet, api: Api) -> None:
    """An operator is told to say for whom."""
    row_id = submit(pgfleet)

    pgfleet.monkeypatch.setenv("PGFLEET_KEY", api.key_of("eve"))
    eve = pgfleet("cancel", row_id)
    pgfleet.monkeypatch.setenv("PGFLEET_KEY", api.key_of("oper", role="DEVOPS"))
    operator, named = pgfleet("cancel", row_id), pgfleet("cancel", row_id, "--user", "ada")

    assert (eve.code, "there is no reservation" in eve.err) == (1, True)
    assert (operator.code, "If you act for them: --user" in operator.err) == (1, True)
    assert named.code == 0, named.err


def test_ctrl_c_ends_a_watch_with_130(pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing comes over the stream."""
    row_id = submit(pgfleet)
    seen = threading.Event()
    ask = following.timeline

    def timeline(*given: object) -> object:
        seen.set()
        return ask(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("pgfleet.console.remote.commands.watch.timeline", timeline)

    def interrupt() -> None:
        until(seen.is_set)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ended = pgfleet("watch", row_id)
    thread.join()

    assert ended.code == 130
