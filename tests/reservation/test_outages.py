"""Something outside is in trouble: rows wait, nothing counts against them, and all go on when it answers."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from pgfleet.workers.runtime.outcomes import NotNowError
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of, settings_for, until, worker_on
from worlds.reservations import active, ask, create, ended, gang, letters, reach, status_of

PODS = r"/namespaces/gpu-dev/pods"
MANY = 100_000
OUT = "select dependency, calls, code from public.outages where ended_at is null order by outage_id"
# Every way in which a server can fail all its callers.
WAYS: list[dict[str, Any]] = [
    {"status": 503},
    {"status": 500},
    {"status": 504},
    {"status": 408},
    {"status": 429, "retry_after": 1},
    {"status": 401},
    {"drop": True},
]


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def outages(conn: Connection) -> list[tuple[str, str, str]]:
    return [(str(a), str(b), str(c)) for a, b, c in conn.execute(OUT)]


def waits_for(conn: Connection, worker: Worker, row_id: str, code: str) -> None:
    worker.run_until(lambda: shown(conn, row_id).startswith(f"{code}: "))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_row_that_is_prepared_outlives_an_outage_of_three_hours(
    conn: Connection, worker: Worker, box: Box, way: dict[str, Any]
) -> None:
    row_id = create(conn)
    box.fault(f"{PODS}$", method="POST", times=MANY, **way)
    box.fault(PODS, method="GET", times=MANY, **way)
    waits_for(conn, worker, row_id, "KUBERNETES_UNREACHABLE")
    for _ in range(12):
        move_clock(conn, 900)
        worker.run_once()
    during = status_of(conn, row_id)

    box.clear_faults()
    move_clock(conn, 31)
    row = reach(conn, worker, row_id, "active")

    assert during == "preparing"
    assert letters(conn) == []
    assert outages(conn) == []
    assert row["schedule_failures"] == 0
    assert_sound(conn)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_line_stands_still_in_an_outage_and_keeps_its_order(
    conn: Connection, worker: Worker, box: Box, way: dict[str, Any]
) -> None:
    box.fault(".*", times=MANY, **way)
    rows = [create(conn, gpu_count=8) for _ in range(4)]
    worker.run_until(lambda: outages(conn))
    move_clock(conn, 61)
    code = "KUBERNETES_UNREACHABLE: "
    worker.run_until(lambda: all(shown(conn, row).startswith((code, "SSH_KEYS")) for row in rows))
    move_clock(conn, 3 * 3600)
    worker.run_once()
    during = [status_of(conn, row) for row in rows]

    box.clear_faults()
    move_clock(conn, 61)
    for number, row in enumerate(rows):
        reach(conn, worker, row, "active")
        ahead = [status_of(conn, later) for later in rows[number + 2 :]]
        assert set(ahead) <= {"queued"}, "two fit, and nobody passes"
        ask(conn, "cancel", row)

    assert set(during) <= {"pending", "queued", "preparing"}
    assert letters(conn) == []


def test_time_in_an_outage_counts_in_no_limit_of_a_line(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(".*", times=MANY, status=503)
    first, second, third = (create(conn, gpu_count=8) for _ in range(3))
    worker.run_until(lambda: outages(conn))
    for _ in range(60):
        move_clock(conn, 3600)
        worker.run_once()

    box.clear_faults()
    move_clock(conn, 61)
    for row in (first, second):
        reach(conn, worker, row, "active")
    move_clock(conn, 61)
    worker.run()

    assert status_of(conn, third) == "queued"


def test_a_make_that_is_refused_stops_no_teardown(conn: Connection, worker: Worker, box: Box) -> None:
    gone = active(conn, worker)
    box.fault(f"{PODS}$", method="POST", times=MANY, status=403)
    waiting = create(conn)
    waits_for(conn, worker, waiting, "KUBERNETES_UNREACHABLE")
    open_now = outages(conn)

    ask(conn, "cancel", gone)
    row = ended(conn, worker, gone)

    assert open_now == [("kubernetes", "make", "KUBERNETES_UNREACHABLE")]
    assert "the operator has to" in shown(conn, waiting)
    assert row["gpus_held"] == 0
    assert status_of(conn, waiting) == "preparing"


def test_a_right_that_is_given_at_last_mends_all(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(f"{PODS}$", method="POST", times=MANY, status=403)
    rows = [create(conn) for _ in range(3)]
    waits_for(conn, worker, rows[0], "KUBERNETES_UNREACHABLE")

    box.clear_faults()
    for row in rows:
        reach(conn, worker, row, "active")

    assert letters(conn) == []


def test_a_right_to_make_what_goes_with_a_pod_may_be_taken_away(conn: Connection, worker: Worker, box: Box) -> None:
    box.rule("rights", missing=["create configmaps"])
    rows = [create(conn) for _ in range(3)]
    worker.run_until(lambda: outages(conn))
    move_clock(conn, 3 * 3600)
    worker.run()
    during = {status_of(conn, row) for row in rows}

    box.clear_rules()
    move_clock(conn, 61)
    for row in rows:
        reach(conn, worker, row, "active")

    assert during <= {"preparing", "queued"}
    assert letters(conn) == []
    assert_sound(conn)


# A webhook that gives no status is a 400 to whoever asks, and an admission policy a 422.
DENYING: list[tuple[str, dict[str, Any]]] = [
    *(("webhook", {"code": code}) for code in (400, 403, 406, 409, 422)),
    ("webhook", {"side_effects": True}),
    ("policy", {}),
]


@pytest.mark.parametrize(("rule", "how"), DENYING, ids=str)
def test_who_lets_no_pod_in_empties_no_line(
    conn: Connection, worker: Worker, box: Box, rule: str, how: dict[str, Any]
) -> None:
    box.rule(rule, image=".", **how)
    rows = [create(conn) for _ in range(3)]
    worker.run_until(lambda: "the operator has to let" in shown(conn, rows[0]))
    for _ in range(8):
        move_clock(conn, 450)
        worker.run_once()
    during = {status_of(conn, row) for row in rows}

    box.clear_rules()
    move_clock(conn, 901)
    for row in rows:
        reach(conn, worker, row, "active")

    assert during <= {"preparing", "queued"}
    assert letters(conn) == []


@pytest.mark.parametrize(("rule", "how"), [each for each in DENYING if "side_effects" not in each[1]], ids=str)
def test_who_refuses_one_image_fails_its_row_alone(
    conn: Connection, worker: Worker, box: Box, rule: str, how: dict[str, Any]
) -> None:
    box.rule(rule, image="forbidden", **how)
    refused, other = create(conn, dockerimage="example.org/forbidden:1"), create(conn)

    row = reach(conn, worker, refused, "failed")
    reach(conn, worker, other, "active")

    assert "images must come from registry.example.com" in row["failure_reason"]
    assert outages(conn) == []


def test_a_port_range_that_is_full_is_not_the_rows(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault("/services$", method="POST", times=MANY, status=500)
    row_id = create(conn)
    waits_for(conn, worker, row_id, "KUBERNETES_UNREACHABLE")
    move_clock(conn, 7200)
    worker.run_once()

    box.clear_faults()
    row = reach(conn, worker, row_id, "active")

    assert row["node_port"] is not None
    assert letters(conn) == []


def test_deletes_that_are_refused_hold_the_gpus_until_they_are_let(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.fault("/pods/", method="DELETE", times=MANY, status=403)
    ask(conn, "cancel", row_id)
    worker.run_until(lambda: outages(conn) == [("kubernetes", "delete", "KUBERNETES_UNREACHABLE")])
    held = row_of(conn, row_id)["gpus_held"]
    other = active(conn, worker)

    box.clear_faults()

    assert held == 2
    assert ended(conn, worker, row_id)["gpus_held"] == 0
    assert status_of(conn, other) == "active"


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("what", ["pods", "services", "configmaps"])
def test_a_deletion_that_a_webhook_refuses_is_told_in_its_words(
    conn: Connection, worker: Worker, box: Box, status: int, what: str
) -> None:
    """And whatever else there is of it is asked to go meanwhile."""
    row_id, said = active(conn, worker), 'admission webhook "protect.corp" denied the request: it is protected'
    box.fault(f"/namespaces/gpu-dev/{what}/", method="DELETE", times=MANY, status=status, message=said)
    ask(conn, "cancel", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["held_by"] is not None)
    worker.run_until(lambda: said in (row_of(conn, row_id)["held_by"] or ""))
    held = row_of(conn, row_id)["gpus_held"]
    others = {"pods", "services", "configmaps"} - {what}
    until(lambda: not any(box.state()["objects"][each] for each in others))

    box.clear_faults()
    row = ended(conn, worker, row_id)

    assert held == 2
    assert (row["gpus_held"], letters(conn)) == (0, [])


@pytest.mark.parametrize("what", ["secrets", "networkpolicies"])
@pytest.mark.parametrize("status", [400, 403, 409, 422])
def test_who_lets_nothing_in_that_goes_with_a_gang_fails_no_row(
    conn: Connection, worker: Worker, box: Box, what: str, status: int
) -> None:
    said = f'admission webhook "policy.corp" denied the request: no {what} here'
    box.fault(f"/{what}$", method="POST", times=MANY, status=status, message=said)
    ids = gang(conn, 2)
    worker.run_until(lambda: any(said in shown(conn, each) for each in ids))
    move_clock(conn, 600)
    worker.run_once()

    box.clear_faults()
    rows = [reach(conn, worker, each, "active") for each in ids]

    assert all(row["failure_reason"] is None for row in rows)
    assert letters(conn) == []


def test_a_quota_gives_the_gpus_back_and_lets_others_pass(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(f"{PODS}$", method="POST", times=1, status=403, message='pods "x" is forbidden: exceeded quota: gpus')
    first = create(conn, gpu_count=8)
    row = reach(conn, worker, first, "queued")

    other = active(conn, worker, gpu_count=4)
    move_clock(conn, 61)
    reach(conn, worker, first, "active")

    assert row["current_detailed_status"].startswith("QUOTA: ")
    assert row["gpus_held"] == 0
    assert status_of(conn, other) == "active"
    assert outages(conn) == []


@pytest.mark.parametrize(
    "said",
    [
        {"details": {"kind": "resourcequotas"}},
        {"message": 'Operation cannot be fulfilled on resourcequotas "gpus": the object has been modified'},
    ],
    ids=str,
)
def test_a_quota_that_somebody_else_is_changing_is_a_quota(
    conn: Connection, worker: Worker, box: Box, said: dict[str, Any]
) -> None:
    box.fault(f"{PODS}$", method="POST", times=1, status=409, reason="Conflict", **said)
    row_id = create(conn)
    row = reach(conn, worker, row_id, "queued")

    assert row["current_detailed_status"].startswith("QUOTA: ")


SIGN_IN = {"status": 200, "text": "<!DOCTYPE html><html>Sign in to continue</html>"}


@pytest.mark.parametrize("way", [*(way for way in WAYS if way.get("status") != 408), SIGN_IN], ids=str)
def test_the_server_of_ssh_keys_may_be_away_for_hours(
    conn: Connection, worker: Worker, box: Box, way: dict[str, Any]
) -> None:
    box.fault("ssh-keys", times=MANY, **way)
    row_id = create(conn)
    waits_for(conn, worker, row_id, "SSH_KEYS_UNREACHABLE")
    others = [create(conn) for _ in range(2)]
    for _ in range(4):
        move_clock(conn, 3600)
        worker.run_once()
    during = [status_of(conn, row) for row in (row_id, *others)]

    box.clear_faults()
    move_clock(conn, 61)
    for row in (row_id, *others):
        reach(conn, worker, row, "active")

    assert "failed" not in during
    assert letters(conn) == []


def test_a_page_instead_of_ssh_keys_is_not_a_user_without_keys(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault("^/ssh-keys/", times=MANY, status=200, text="<!DOCTYPE html>\n<title>Maintenance</title>")
    row_id = create(conn)
    waits_for(conn, worker, row_id, "SSH_KEYS_UNREACHABLE")
    during = outages(conn)

    box.clear_faults()
    move_clock(conn, 61)
    reach(conn, worker, row_id, "active")

    assert during == [("ssh_keys", "read", "SSH_KEYS_UNREACHABLE")]


EVERYBODY_404 = {"times": MANY, "status": 404, "text": "default backend - 404"}


def test_a_server_of_ssh_keys_that_knows_nobody_any_more_is_in_trouble(
    conn: Connection, dsn: str, worker: Worker, box: Box
) -> None:
    active(conn, worker, user_id="eve")
    # A worker that has found nobody itself yet.
    with worker_on(KIND, settings_for(dsn, box)) as fresh:
        box.fault("^/ssh-keys/", **EVERYBODY_404)
        rows = [create(conn), create(conn, user_id="bob", secondary_users=["eve"])]
        fresh.run_until(lambda: outages(conn) == [("ssh_keys", "read", "SSH_KEYS_UNREACHABLE")])
        for _ in range(3):
            move_clock(conn, 3600)
            fresh.run_once()
        during, open_still = [status_of(conn, row_id) for row_id in rows], outages(conn)

        box.clear_faults()
        move_clock(conn, 901)
        for row_id in rows:
            reach(conn, fresh, row_id, "active")

    assert "failed" not in during
    assert open_still
    assert (letters(conn), outages(conn)) == ([], [])


def test_an_outage_ends_when_a_server_knows_those_who_wait_though_not_those_of_before(
    conn: Connection, worker: Worker, box: Box
) -> None:
    active(conn, worker, user_id="eve")
    box.fault("^/ssh-keys/", **EVERYBODY_404)
    row_id = create(conn)
    worker.run_until(lambda: outages(conn))

    box.clear_faults()
    box.fault("^/ssh-keys/eve", **EVERYBODY_404)
    move_clock(conn, 61)

    assert reach(conn, worker, row_id, "active")["warning"] is None
    assert outages(conn) == []


@pytest.mark.parametrize("is_found_before", [False, True])
def test_a_user_whom_nobody_knows_fails_alone_while_the_server_knows_others(
    conn: Connection, worker: Worker, *, is_found_before: bool
) -> None:
    if is_found_before:
        active(conn, worker)
    mistyped = create(conn, user_id="nobody-of-this-name")

    row = reach(conn, worker, mistyped, "failed")

    assert "GitHub knows no user nobody-of-this-name" in row["failure_reason"]
    assert outages(conn) == []


def test_a_server_that_knows_neither_anybody_nor_its_own_root_fails_no_row(
    conn: Connection, worker: Worker, box: Box
) -> None:
    box.fault("^/$", **EVERYBODY_404)
    box.fault("^/ssh-keys/", **EVERYBODY_404)
    rows = [create(conn), create(conn, user_id="bob")]
    for row_id in rows:
        waits_for(conn, worker, row_id, "SSH_KEYS_UNREACHABLE")
    move_clock(conn, 1800)
    worker.run_until(lambda: all(status_of(conn, row_id) == "queued" for row_id in rows))
    during = [status_of(conn, row_id) for row_id in rows]

    box.clear_faults()
    move_clock(conn, 901)
    for row_id in rows:
        reach(conn, worker, row_id, "active")

    assert "failed" not in during
    assert letters(conn) == []


def test_one_probe_at_a_time_asks_whether_it_is_over(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(".*", times=MANY, status=503)
    for _ in range(10):
        create(conn, gpu_count=1)
    worker.run_until(lambda: outages(conn))
    worker.run()
    before = conn.execute("select sum(probes) from public.outages").fetchone()

    for _ in range(20):
        worker.run_once()

    after = conn.execute("select sum(probes) from public.outages").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] <= 2 * len(outages(conn))


def test_an_active_row_notices_nothing_of_an_outage(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.fault(".*", times=MANY, status=503)
    for _ in range(10):
        move_clock(conn, 61)
        worker.run_once()
    during = status_of(conn, row_id)

    box.clear_faults()
    move_clock(conn, 61)
    worker.run_until(lambda: outages(conn) == [])
    worker.run()

    assert during == "active"
    assert status_of(conn, row_id) == "active"


def test_an_active_row_is_shown_as_ready_again_when_an_outage_is_over(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    box.fault(".*", times=MANY, status=503)
    move_clock(conn, 61)
    waits_for(conn, worker, row_id, "KUBERNETES_UNREACHABLE")

    box.clear_faults()
    move_clock(conn, 61)
    worker.run_until(lambda: outages(conn) == [])
    worker.run_until(lambda: shown(conn, row_id) == "Ready")

    assert status_of(conn, row_id) == "active"


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 407])
def test_a_proxys_page_says_nothing_of_a_pod(conn: Connection, worker: Worker, box: Box, status: int) -> None:
    ids = [active(conn, worker), create(conn)]
    box.fault("^/api/", times=MANY, status=status, text="<html>default backend</html>")
    for _ in range(12):
        move_clock(conn, 61)
        worker.run_once()
    during = [status_of(conn, row_id) for row_id in ids], outages(conn)

    box.clear_faults()
    move_clock(conn, 61)
    reach(conn, worker, ids[1], "active")

    assert during[0][0] == "active"
    assert ("kubernetes", "read", "KUBERNETES_UNREACHABLE") in during[1]
    assert status_of(conn, ids[0]) == "active"
    assert letters(conn) == []


def test_outages_are_kept_and_their_times_do_not_overlap(conn: Connection, worker: Worker, box: Box) -> None:
    box.fault(".*", times=MANY, status=503)
    create(conn)
    worker.run_until(lambda: outages(conn))
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute(
            "insert into public.outages (dependency, calls, queue, code, reason, retry_at)"
            " select dependency, calls, queue, code, reason, retry_at from public.outages where ended_at is null"
        )


def test_an_active_row_that_could_not_be_looked_at_is_shown_as_ready_again(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    box.fault(PODS, method="GET", times=MANY, status=503)
    move_clock(conn, 61)
    waits_for(conn, worker, row_id, "KUBERNETES_UNREACHABLE")

    box.clear_faults()
    move_clock(conn, 61)

    worker.run_until(lambda: shown(conn, row_id) == "Ready")


def test_a_row_that_alone_is_not_answered_gives_its_gpus_back_and_keeps_its_place(
    conn: Connection, worker: Worker, box: Box
) -> None:
    box.fault("ssh-keys/bob", times=MANY, status=503)
    alone = create(conn, user_id="bob", gpu_count=8)
    waits_for(conn, worker, alone, "SSH_KEYS_UNREACHABLE")
    held_at_first = row_of(conn, alone)["gpus_held"]
    move_clock(conn, 31)
    worker.run_until(lambda: status_of(conn, alone) == "queued")

    both_nodes = [active(conn, worker, gpu_count=8), active(conn, worker, gpu_count=8)]
    box.clear_faults()
    for row_id in both_nodes:
        ask(conn, "cancel", row_id)
        ended(conn, worker, row_id)
    move_clock(conn, 901)

    assert held_at_first == 8
    assert reach(conn, worker, alone, "active")["launched_at"]
    assert (letters(conn), outages(conn)) == ([], [])
    assert_sound(conn)


def test_a_process_that_is_not_ready_stops_no_other(conn: Connection, dsn: str, box: Box, tmp_path: Path) -> None:
    wrong = tmp_path / "kubeconfig"
    wrong.write_text(Path(box.kubeconfig).read_text("utf-8").replace(box.url, "http://127.0.0.1:9"), "utf-8")
    with worker_on(KIND, settings_for(dsn, box, kubeconfig=str(wrong))) as misled:
        misled.running.ready.clear()
        with pytest.raises(NotNowError):
            misled.running.tools.pods.find("gpu-dev-x")
        while_unready = outages(conn)

        misled.running.ready.set()
        with pytest.raises(NotNowError):
            misled.running.tools.pods.find("gpu-dev-x")

    assert while_unready == []
    assert outages(conn) == [("kubernetes", "read", "KUBERNETES_UNREACHABLE")]
