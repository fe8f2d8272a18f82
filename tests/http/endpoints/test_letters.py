"""`/v1/dead-letters` and `/v1/pauses`: what operators decide."""

import pytest

from pgfleet.schema.replay import letters
from worlds.api.audited import audited, turned
from worlds.api.server import Api
from worlds.fleet import history_of, new_id
from worlds.rows_of_disks import bodies, bury, operation, reservation

SWEEP = {"action": "sweep"}


def answers(api: Api) -> list[tuple[object, ...]]:
    query = "select dead_letter_id, answer, answered_by from public.dead_letters order by 1"
    return api.conn.execute(query).fetchall()


def failed_operation(api: Api) -> tuple[str, int]:
    """An operation that failed with its message, and its letter."""
    row_id = operation(api.conn, "failed", error="AWS refused it")
    return row_id, bury(api.conn, {"action": "proceed", "operation_id": row_id})


def test_what_failed_with_a_letter_goes_on_when_it_is_replayed(api: Api) -> None:
    """The history and the letter say who did, the audit says so once."""
    row_id, number = failed_operation(api)

    with api.as_user("ops", role="DEVOPS") as ops:
        answer = ops.post(f"/v1/dead-letters/{number}:replay")

    assert (answer.status_code, answer.json()["done"]) == (200, f"operation {row_id} is pending again")
    assert answers(api) == [(number, "replayed", "ops")]
    assert bodies(api.conn) == [{"action": "proceed", "operation_id": row_id}]
    moved = api.conn.execute("select reason, actor from public.status_history order by history_id desc limit 1")
    assert moved.fetchone() == (f"replayed from dead letter {number}", "ops")
    assert audited(api.conn, "DEAD_LETTER_REPLAYED") == [(str(number), "DEVOPS", "SUCCESS")]
    noted = api.conn.execute("select count(*) from autoscaler.audit_logs where user_agent is not null").fetchone()
    assert noted == (1,)


def test_a_reservation_that_failed_is_pending_again(api: Api) -> None:
    """With a ticket of the next number."""
    row_id = reservation(api.conn, "failed", disk_name=None)
    api.conn.execute("update public.reservations set reservation_ended = now() where reservation_id = %s", (row_id,))
    (ticket,) = api.conn.execute("select ticket from public.reservations").fetchone() or (None,)
    (number,) = api.conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at) values ('gpu_reservations', 1,"
        " jsonb_build_object('action', 'advance', 'reservation_id', %s::text, 'ticket', 1), 'x', now())"
        " returning dead_letter_id",
        (row_id,),
    ).fetchone() or (None,)
    api.conn.execute("delete from pgmq.q_gpu_reservations")

    with api.as_user("ops", role="ADMIN") as ops:
        answer = ops.post(f"/v1/dead-letters/{number}:replay")

    assert answer.json()["done"] == f"reservation {row_id} is pending again"
    assert history_of(api.conn, row_id)[-1] == ("failed", "pending")
    sent = [row[0] for row in api.conn.execute("select message from pgmq.q_gpu_reservations order by msg_id")]
    assert sent == [
        {"action": "admit", "gpu_type": "h100"},
        {"action": "advance", "reservation_id": row_id, "ticket": ticket + 1},
    ]


def test_whoever_asked_still_asks_when_a_letter_is_sent_again(api: Api) -> None:
    """Not the operator who replays it."""
    number = bury(api.conn, {"action": "delete_disk", "user_id": "bob", "operation_id": new_id()})
    api.conn.execute(
        """update public.dead_letters set headers = '{"asked_by": "eve", "asked_role": "USER", "pgfleet": {"x": 1}}'"""
    )

    with api.as_user("ops", role="DEVOPS") as ops:
        ops.post(f"/v1/dead-letters/{number}:replay")

    headers = api.conn.execute("select headers from pgmq.q_disk_operations").fetchall()
    assert headers == [({"asked_by": "eve", "asked_role": "USER"},)]


def test_whoever_comes_second_finds_it_answered(api: Api) -> None:
    """409, at the console as here; one that there is not is 404."""
    number = bury(api.conn, SWEEP)
    letters.discard(api.conn, number, "grace")

    with api.as_user("ops", role="DEVOPS") as ops:
        late = ops.post(f"/v1/dead-letters/{number}:replay")
        missing = [ops.post(f"/v1/dead-letters/{which}:discard").status_code for which in ("99", "x", "9" * 30)]

    assert (late.status_code, "discarded already, by grace" in late.text) == (409, True)
    assert missing == [404, 404, 404]
    assert bodies(api.conn) == []


def test_many_are_answered_at_once_and_one_that_can_not_be_leaves_the_others(api: Api) -> None:
    """Each with what was done, or why not; in one row of the audit."""
    first, answered, third = (bury(api.conn, SWEEP) for _ in range(3))
    letters.discard(api.conn, answered, "grace")

    with api.as_user("ops", role="DEVOPS") as ops:
        answer = ops.post("/v1/dead-letters:replay", json={"ids": [third, answered, first, first, 99]})

    items = {item["dead_letter_id"]: item for item in answer.json()["items"]}
    assert [items[number]["done"] for number in (first, third)] == ["sent again to disk_operations"] * 2
    assert "by grace" in items[answered]["refused"]
    assert "There is no dead letter 99" in items[99]["refused"]
    assert bodies(api.conn) == [SWEEP, SWEEP]
    assert audited(api.conn, "DEAD_LETTER_REPLAYED") == [(f"{first},{third}", "DEVOPS", "SUCCESS")]


def test_many_are_discarded_at_once(api: Api) -> None:
    """Nothing is sent; they are in the list of answered ones."""
    numbers = [bury(api.conn, SWEEP) for _ in range(3)]

    with api.as_user("ops", role="DEVOPS") as ops:
        ops.post("/v1/dead-letters:discard", json={"ids": numbers})
        assert turned(ops, "/v1/dead-letters", "dead_letter_id") == []
        assert turned(ops, "/v1/dead-letters", "dead_letter_id", answered="true", limit=2) == numbers[::-1]

    assert bodies(api.conn) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/dead-letters/1:replay", None),
        ("/v1/dead-letters/1:discard", None),
        ("/v1/dead-letters:replay", {"ids": [1]}),
    ],
)
def test_users_answer_none(api: Api, path: str, body: dict[str, list[int]] | None) -> None:
    """Nor with the login's own rights: the function asks for the role, too."""
    number = bury(api.conn, SWEEP)

    with api.as_user("ada") as ada:
        answer = ada.post(path, json=body)

    assert answer.status_code == 403
    assert answers(api) == [(number, None, None)]


def test_an_address_with_an_action_is_not_taken_for_an_id(api: Api) -> None:
    """A GET there says that it is for POST."""
    with api.as_user("ops", role="DEVOPS") as ops:
        answer = ops.get("/v1/dead-letters/1:replay")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_an_operator_pauses_a_kind_and_lets_it_go_on(api: Api) -> None:
    """Everybody sees why; each is one row of the audit. Once more changes nothing."""
    with api.as_user("ops", role="DEVOPS") as ops, api.as_user("ada") as ada:
        begun = ops.put("/v1/pauses/disk", json={"reason": "moving"})
        again = ops.put("/v1/pauses/disk", json={"reason": "another"})
        seen = ada.get("/v1/pauses").json()["items"]
        ended = ops.delete("/v1/pauses/disk")
        left = ada.get("/v1/pauses").json()["items"]

    assert (begun.status_code, again.json()["reason"], ended.status_code) == (200, "moving", 204)
    assert [(row["name"], row["by_whom"], row["reason"]) for row in seen] == [("disk", "ops", "moving")]
    assert left == []
    assert len(audited(api.conn, "PAUSE_BEGUN")) == 2
    assert audited(api.conn, "PAUSE_ENDED") == [("disk", "DEVOPS", "SUCCESS")]
    noted = api.conn.execute("select count(*) from autoscaler.audit_logs where resource_type = 'pause'").fetchone()
    assert noted == (3,)


def test_deletions_are_paused_by_their_name_and_nothing_else_is(api: Api) -> None:
    """By operators only."""
    with api.as_user("ops", role="DEVOPS") as ops, api.as_user("ada") as ada:
        assert ops.put("/v1/pauses/deletes").json()["name"] == "deletes"
        assert ops.put("/v1/pauses/disks").status_code == 404
        assert ada.delete("/v1/pauses/deletes").status_code == 403

    assert api.conn.execute("select what from public.pauses").fetchall() == [("deletes",)]
