"""Jupyter of a reservation: a service, a program in its pod and a token; what fails of it ends nothing."""

from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.clients.kubernetes.exec import Commands
from pgfleet.workers.clients.kubernetes.inside import jupyter
from pgfleet.workers.clients.kubernetes.inside.jupyter import LOOK, START, STOP, Started, start
from pgfleet.workers.runtime.outcomes import LeaseLostError
from worlds.commands import Pgfleet
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of
from worlds.reservations import active, ask, create, ended, reach

NS = "gpu-dev"


def services(worker: Worker, row: dict[str, Any]) -> dict[str, Any]:
    listed = worker.running.tools.pods.api.list_namespaced_service(NS, label_selector=f"reservation={row['pod_name']}")
    return {service.metadata.name.removeprefix(f"{row['pod_name']}-"): service for service in listed.items}


def typed(box: Box, row: dict[str, Any]) -> list[str]:
    """What commands in its pod have read."""
    return [text for pod, _, text in box.state()["typed"] if pod == row["pod_name"]]


def with_jupyter(conn: Connection, worker: Worker, **fields: Any) -> dict[str, Any]:
    row_id = create(conn, jupyter_enabled=True, **fields)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)
    return row_of(conn, row_id)


def test_who_asks_for_it_gets_it_with_the_reservation(conn: Connection, worker: Worker, box: Box) -> None:
    row = with_jupyter(conn, worker)

    (port,) = services(worker, row)["jupyter"].spec.ports
    assert (port.port, port.node_port) == (8888, row["jupyter_port"])
    assert services(worker, row)["jupyter"].metadata.owner_references[0].uid == row["pod_uid"]
    assert row["jupyter_url"] == f"http://{row['node_ip']}:{row['jupyter_port']}/"
    assert row["jupyter_error"] is None
    assert typed(box, row) == [f"{row['jupyter_token']}\n"]


def test_its_token_is_nowhere_but_in_its_column(
    conn: Connection, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    row = with_jupyter(conn, worker)
    ask(conn, "disable_jupyter", row["reservation_id"])
    worker.run()

    token = row.pop("jupyter_token")
    assert len(token) >= 32
    assert token not in str(row)
    history = conn.execute("select h::text from public.status_history h").fetchall()
    assert token not in str(history)
    assert token not in capsys.readouterr().out
    pods = worker.running.tools.pods
    assert token not in str(pods.api.list_namespaced_pod(NS)) + str(pods.api.list_namespaced_config_map(NS))


def test_two_reservations_have_two_tokens(conn: Connection, worker: Worker) -> None:
    one, other = with_jupyter(conn, worker), with_jupyter(conn, worker)

    assert one["jupyter_token"] != other["jupyter_token"]


def test_it_is_switched_on_and_off_while_the_reservation_runs(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    ask(conn, "enable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)
    on = row_of(conn, row_id)

    ask(conn, "disable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is None)

    off = row_of(conn, row_id)
    assert "jupyter" not in services(worker, off)
    assert (off["jupyter_port"], off["jupyter_token"], off["jupyter_error"]) == (None, None, None)
    assert [done["told"] for done in off["requests_done"]] == ["Jupyter on", "Jupyter off"]
    assert on["status"] == off["status"] == "active"
    assert_sound(conn)


def test_switched_on_again_it_has_another_token(conn: Connection, worker: Worker) -> None:
    before = with_jupyter(conn, worker)
    row_id = before["reservation_id"]
    for action in ("disable_jupyter", "enable_jupyter"):
        ask(conn, action, row_id)
        worker.run_until(lambda: row_of(conn, row_id)["jupyter_enabled"] == (action == "enable_jupyter"))  # noqa: B023

    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)

    assert row_of(conn, row_id)["jupyter_token"] not in (None, before["jupyter_token"])


def test_an_image_without_it_is_told_and_the_reservation_goes_on(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.command(NS, row_of(conn, row_id)["pod_name"], START, "missing\n")
    ask(conn, "enable_jupyter", row_id)

    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)

    row = row_of(conn, row_id)
    assert row["jupyter_error"] == "there is no `jupyter` in its image"
    assert (row["status"], row["jupyter_url"]) == ("active", None)


def test_what_no_other_try_would_change_is_tried_once(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    row = row_of(conn, row_id)
    box.command(NS, row["pod_name"], START, "missing\n")
    ask(conn, "enable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)

    move_clock(conn, 70)
    worker.run()

    assert len(typed(box, row)) == 1


def test_asked_for_again_after_a_failure_it_is_tried_again(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    pod = row_of(conn, row_id)["pod_name"]
    box.command(NS, pod, START, "missing\n")
    ask(conn, "enable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)
    box.command(NS, pod, START, "running\n")

    ask(conn, "enable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)

    assert row_of(conn, row_id)["jupyter_error"] is None


def test_what_it_wrote_when_it_ended_is_told_without_the_token(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    by_hand = "jupyter_token = 'secret-of-ada', jupyter_enabled = true"
    conn.execute(f"update public.reservations set {by_hand} where reservation_id = %s".encode(), (row_id,))
    box.command(NS, row_of(conn, row_id)["pod_name"], START, "failed\nbad token secret-of-ada\n")

    move_clock(conn, 310)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)

    assert "secret-of-ada" not in row_of(conn, row_id)["jupyter_error"]


def test_one_that_ends_by_itself_is_noticed_and_told_and_starts_again_when_it_is_asked_for(
    conn: Connection, worker: Worker, box: Box, pgfleet: Pgfleet
) -> None:
    row = with_jupyter(conn, worker)
    row_id, token = row["reservation_id"], row["jupyter_token"]
    box.command(NS, row["pod_name"], LOOK, f"ended\nKilled, with {token}\n")

    move_clock(conn, 310)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)
    found = row_of(conn, row_id)
    move_clock(conn, 310)
    worker.run()
    shown = [pgfleet("jupyter", "show", row_id).err, pgfleet("watch", row_id, "--once").out]

    told = f"it has ended: Killed, with ***; `pgfleet jupyter on {row_id}` starts it again"
    assert (found["jupyter_error"], found["jupyter_url"], found["status"]) == (told, None, "active")
    assert all("it has ended: Killed" in said for said in shown)
    assert len(typed(box, row)) == 1, "it is not started again by itself"
    box.command(NS, row["pod_name"], LOOK, "running\n")
    ask(conn, "enable_jupyter", row_id)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)
    assert row_of(conn, row_id)["jupyter_error"] is None


@pytest.mark.parametrize("answer", ["running\n", "", "what a user's program writes\n"])
def test_one_of_which_nobody_can_say_that_it_has_ended_runs_on(
    conn: Connection, worker: Worker, box: Box, answer: str
) -> None:
    row = with_jupyter(conn, worker)
    box.command(NS, row["pod_name"], LOOK, answer, failure="" if answer else "exec is away")

    move_clock(conn, 310)
    worker.run_until(lambda: row_of(conn, row["reservation_id"])["jupyter_looked_at"] > row["jupyter_looked_at"])

    after = row_of(conn, row["reservation_id"])
    assert (after["jupyter_url"], after["jupyter_error"]) == (row["jupyter_url"], None)


def test_a_quota_of_services_keeps_it_away_and_nothing_else(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    box.rule("quota", hard={"services": "1"})
    ask(conn, "enable_jupyter", row_id)

    worker.run_until(lambda: row_of(conn, row_id)["jupyter_error"] is not None)

    row = row_of(conn, row_id)
    assert row["jupyter_error"].startswith("QUOTA: ")
    assert row["status"] == "active"
    box.clear_rules()
    move_clock(conn, 70)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)


def test_a_service_that_somebody_has_deleted_is_made_again(conn: Connection, worker: Worker) -> None:
    row = with_jupyter(conn, worker)
    worker.running.tools.pods.delete_service(f"{row['pod_name']}-jupyter")

    move_clock(conn, 70)
    worker.run_until(lambda: "jupyter" in services(worker, row))

    worker.run()
    made = row_of(conn, row["reservation_id"])
    assert made["jupyter_port"] == services(worker, row)["jupyter"].spec.ports[0].node_port


def test_it_goes_with_the_reservation(conn: Connection, worker: Worker, box: Box) -> None:
    row = with_jupyter(conn, worker)
    ask(conn, "cancel", row["reservation_id"])

    ended(conn, worker, row["reservation_id"])

    assert services(worker, row) == {}


def test_asked_for_while_it_waits_it_comes_when_it_starts(conn: Connection, worker: Worker) -> None:
    first, second = active(conn, worker, gpu_count=8), active(conn, worker, gpu_count=8)
    waiting = create(conn, gpu_count=8)
    reach(conn, worker, waiting, "queued")
    ask(conn, "enable_jupyter", waiting)
    worker.run()

    ask(conn, "cancel", first)

    worker.run_until(lambda: row_of(conn, waiting)["jupyter_url"] is not None)
    assert row_of(conn, second)["status"] == "active"


def test_another_user_can_not_switch_it(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)

    ask(conn, "enable_jupyter", row_id, user="eve")
    worker.run()

    assert not row_of(conn, row_id)["jupyter_enabled"]


def test_its_address_is_for_its_owner(conn: Connection, worker: Worker, pgfleet: Pgfleet) -> None:
    row = with_jupyter(conn, worker)

    shown, others = (
        pgfleet("jupyter", "show", row["reservation_id"]),
        pgfleet("jupyter", "show", row["reservation_id"], "--user", "eve"),
    )

    assert shown.out.strip() == f"{row['jupyter_url']}?token={row['jupyter_token']}"
    assert others.code != 0
    assert row["jupyter_token"] not in others.out + others.err


def test_no_list_and_no_timeline_has_the_token(conn: Connection, worker: Worker, pgfleet: Pgfleet) -> None:
    row = with_jupyter(conn, worker)

    said = [pgfleet("ls", "--json").out, pgfleet("watch", row["reservation_id"], "--once").out]

    assert row["jupyter_token"] not in "".join(said)
    assert row["jupyter_url"] in said[1]


def test_off_stops_the_program_in_the_pod(conn: Connection, worker: Worker, box: Box) -> None:
    row = with_jupyter(conn, worker)
    box.command(NS, row["pod_name"], STOP, "", failure="no such process")
    ask(conn, "disable_jupyter", row["reservation_id"])
    worker.run_until(lambda: row_of(conn, row["reservation_id"])["jupyter_error"] is not None)
    told = row_of(conn, row["reservation_id"])["jupyter_error"]
    box.command(NS, row["pod_name"], STOP, "stopped\n")

    move_clock(conn, 70)
    worker.run_until(lambda: row_of(conn, row["reservation_id"])["jupyter_error"] is None)

    assert told.startswith("off, but its program may still run in the pod: ")


def test_a_worker_that_dies_when_it_has_started_it_leaves_one_service_and_one_token(
    conn: Connection, worker: Worker, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done outside is found by the next, which writes it down."""
    row_id = active(conn, worker)

    started: list[str] = []

    def start_and_die(commands: Commands, pod: str, token: str) -> Started:
        started.append(token)
        start(commands, pod, token)
        raise LeaseLostError

    with monkeypatch.context() as dying:
        dying.setattr(jupyter, "start", start_and_die)
        ask(conn, "enable_jupyter", row_id)
        worker.run_until(lambda: started)
    before = row_of(conn, row_id)

    move_clock(conn, 120)
    worker.run_until(lambda: row_of(conn, row_id)["jupyter_url"] is not None)

    after = row_of(conn, row_id)
    assert before["jupyter_url"] is None
    assert after["jupyter_token"] == before["jupyter_token"] == started[0]
    assert sorted(services(worker, after)) == ["jupyter", "ssh"]
