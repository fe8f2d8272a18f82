"""What a sender claims is believed of its own only, and each value has a bound."""

import re
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.messages import BadMessage
from pgfleet.schema.replay import letters as dead
from pgfleet.schema.reservation import ACTIONS, read, retried_id
from pgfleet.workers.clients.kubernetes import pods
from worlds.fleet import Connection, Worker, new_id, row_of, send
from worlds.outside.hostile import good_bodies, hostile_bodies
from worlds.reservations import QUEUE, active, ask, create, letters, status_of
from worlds.strangers import stranger_on

GOOD: dict[str, Any] = {
    "reservation_id": new_id(),
    "user_id": "ada",
    "gpu_type": "h100",
    "gpu_count": 1,
    "disk_name": "data",
    "extension_hours": 1.0,
    "github_username": "bob",
    "ticket": 1,
    "pod_uid": "1",
    "pod_name": "gpu-dev-1",
    "request_id": new_id(),
}
PATHS = ("../x", "..", ".", "a/b", "a?b", "a,b", "a b", "", "a\n", "-a", "x" * 254, "a%2fb", "ä")


def test_messages_in_which_nothing_is_hostile_are_read() -> None:
    for body in good_bodies(ACTIONS, GOOD):
        assert read(body).model_dump(exclude_unset=True) == body


@pytest.mark.parametrize("action", ACTIONS)
def test_no_field_takes_a_hostile_value(action: str) -> None:
    for _, field, body in hostile_bodies({action: ACTIONS[action]}, GOOD):
        with pytest.raises(BadMessage, match=field) as refused:
            read(body)
        assert len(str(refused.value)) <= 600


@pytest.mark.parametrize("name", PATHS)
def test_the_name_of_a_pod_leads_nowhere_else(name: str) -> None:
    body = {"action": "suspect_pod", "pod_uid": "", "reservation_id": "", "pod_name": name}

    with pytest.raises(BadMessage, match="pod_name: must be the name of a pod"):
        read(body)


@pytest.mark.parametrize("name", PATHS)
def test_whose_keys_are_fetched_is_no_path(name: str) -> None:
    for field, value in (("github_user", name), ("secondary_users", [name])):
        with pytest.raises(BadMessage, match=rf"{field}.*: must be a name at GitHub"):
            read({**next(good_bodies(ACTIONS, GOOD)), field: value})


@pytest.mark.parametrize(
    "name",
    [
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_", "nvidia_visible_devices"),
        *(" NVIDIA_VISIBLE_DEVICES", "Nvidia_Imex_Channels", "AMD_VISIBLE_DEVICES", "MELLANOX_VISIBLE_DEVICES"),
    ],
)
def test_no_variable_says_which_gpus_a_container_sees(name: str) -> None:
    with pytest.raises(BadMessage, match="env_vars: names must not begin as NVIDIA_ does"):
        read({**next(good_bodies(ACTIONS, GOOD)), "env_vars": {"A": "1", name: "all"}})


def test_variables_that_only_look_alike_are_taken() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0", "MY_NVIDIA_KEY": "1", "NVIDIA": "2"}

    assert read({**next(good_bodies(ACTIONS, GOOD)), "env_vars": given}).model_dump()["env_vars"] == given


def test_an_id_of_anothers_reservation_is_refused_and_leaves_that_as_it_is(conn: Connection, worker: Worker) -> None:
    theirs = create(conn, user_id="bob", gpu_count=1)
    worker.run()

    create(conn, reservation_id=theirs, gpu_count=8)
    worker.run()

    assert letters(conn) == [f"reservation {theirs} does not belong to ada"]
    assert row_of(conn, theirs)["user_id"] == "bob"


def test_a_row_that_a_service_has_made_is_begun_by_its_own_user_only(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, github_user, status, gpu_type, gpu_count,"
        " duration_hours, created_at) values (%s, 'bob', 'bob', 'pending', 'h100', 1, 1, now())",
        (row_id,),
    )

    create(conn, reservation_id=row_id)
    worker.run()

    assert letters(conn) == [f"reservation {row_id} does not belong to ada"]
    assert row_of(conn, row_id)["ticket"] == 0


def test_who_takes_the_id_of_a_retry_does_not_pass_for_it(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    taken = create(conn, user_id="eve", reservation_id=retried_id(row_id))
    worker.run()

    ask(conn, "retry", row_id)
    worker.run()

    assert letters(conn) == [f"reservation {taken}, which this retry would be, does not belong to ada"]


@pytest.mark.parametrize("odd", ['{"x": 1e400}', '{"x": ' + "[" * 200 + "]" * 200 + "}"], ids=["a number", "nested"])
def test_headers_that_nobody_can_read_make_no_operator_of_their_sender(
    dsn: str, conn: Connection, worker: Worker, odd: str
) -> None:
    theirs = create(conn, user_id="bob")
    with stranger_on(dsn) as eve:
        body = Jsonb({"action": "cancel", "reservation_id": theirs, "user_id": "bob"})
        eve.execute("select pgmq.send('gpu_reservations', %s, %s::jsonb)", (body, odd))
    worker.run()

    dead.replay(conn, dead.listing(conn, dead.Filters())[0]["dead_letter_id"], "grace")
    worker.run()

    assert status_of(conn, theirs) != "cancelled"
    unreadable, refused = letters(conn)
    assert unreadable == "headers: are nested too deep, or have a number of too many digits"
    assert re.fullmatch("user_id: stranger-[0-9a-f]{8} may ask for no other, such as bob", refused)


@pytest.mark.parametrize("number", [-1, 0, 10, 2**31 - 1])
def test_no_number_of_a_ticket_moves_a_row_that_is_not_due(conn: Connection, worker: Worker, number: int) -> None:
    row_id = active(conn, worker)
    before = row_of(conn, row_id)["ticket"]

    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": number})
    worker.run()

    assert (status_of(conn, row_id), row_of(conn, row_id)["ticket"]) == ("active", before)


@pytest.mark.parametrize("claimed", ["", "nobody's"])
def test_a_pod_is_of_whom_it_says_itself_and_not_of_whom_a_message_names(
    conn: Connection, worker: Worker, claimed: str
) -> None:
    row = row_of(conn, active(conn, worker))

    body = {"action": "suspect_pod", "pod_uid": row["pod_uid"], "pod_name": row["pod_name"], "reservation_id": claimed}
    send(conn, QUEUE, body)
    worker.run()

    assert conn.execute("select from public.pod_quarantine").fetchall() == []
    assert status_of(conn, row["reservation_id"]) == "active"


def test_a_sweep_that_is_asked_for_a_hundred_times_lists_the_cluster_once(
    conn: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.run()
    listed: list[pods.Pods] = []
    managed = pods.Pods.managed

    def counted(self: pods.Pods) -> Any:
        listed.append(self)
        return managed(self)

    monkeypatch.setattr(pods.Pods, "managed", counted)
    conn.execute("update public.periodic set done_at = null")

    for _ in range(100):
        send(conn, QUEUE, {"action": "sweep_pods"})
        send(conn, QUEUE, {"action": "admit", "gpu_type": "h100"})
    worker.run()

    assert len(listed) == 1


def test_a_pod_that_says_nonsense_stops_no_sweep(conn: Connection, worker: Worker) -> None:
    row = row_of(conn, active(conn, worker))
    change = {"metadata": {"annotations": {"pgfleet/reservation-id": "x" * 1000}}}
    worker.running.tools.pods.api.patch_namespaced_pod(row["pod_name"], row["namespace"], change)
    conn.execute("update public.periodic set done_at = null")

    send(conn, QUEUE, {"action": "sweep_pods"})
    worker.run()

    assert letters(conn) == []
    assert conn.execute("select reason from public.pod_quarantine").fetchall() == [("it names no reservation",)]


@pytest.mark.parametrize(
    ("role", "by", "told"),
    [
        ("DEVOPS", "ops@example.com", "ops@example.com (DEVOPS)"),
        ("SERVICE", "eve\x1b[2J", "eve [2J (SERVICE)"),
        ("SERVICE", "ada", "its user"),
        ("USER", "ada", "its user"),
        (None, None, "its user"),
    ],
)
def test_the_history_says_who_has_cancelled(
    conn: Connection, worker: Worker, role: str | None, by: str | None, told: str
) -> None:
    row_id = active(conn, worker)
    headers = {} if role is None else {"asked_by": by, "asked_role": role}
    body = {"action": "cancel", "reservation_id": row_id, "user_id": "ada"}

    conn.execute("select pgmq.send(%s, %s, %s)", (QUEUE, Jsonb(body), Jsonb(headers)))
    worker.run()

    row = row_of(conn, row_id)
    assert row["status_reason"] == f"cancelled by {told}"
    assert row["requests_done"][0]["by"] == ("ada" if told == "its user" else told)


def test_who_has_extended_anothers_reservation_is_in_what_was_done(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    body = {"action": "extend", "reservation_id": row_id, "user_id": "ada", "extension_hours": 2}
    headers = {"asked_by": "ops", "asked_role": "ADMIN"}

    conn.execute("select pgmq.send(%s, %s, %s)", (QUEUE, Jsonb(body), Jsonb(headers)))
    worker.run()

    (done,) = row_of(conn, row_id)["requests_done"]
    assert done["by"] == "ops (ADMIN)"
    assert done["told"].endswith(", by ops (ADMIN)")
