"""What a person sees of a reservation that runs: its timeline and its logs; and their limits."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.identity.speaking import speaking_for
from worlds.api.login import ADA, BOB, OPS, serving_on
from worlds.api.server import Api
from worlds.database import Connection
from worlds.fleet import Worker, row_of, until
from worlds.reservations import active, create
from worlds.rows_of_disks import reservation


@pytest.fixture
def fleet_dsn(dsn: str) -> str:
    """The worker's database is the API's."""
    return dsn


@pytest.fixture
def row_id(conn: Connection, worker: Worker, box: Box) -> str:
    """A reservation of ada's that runs, and has written something."""
    row_id = active(conn, worker)
    box.log("gpu-dev", str(row_of(conn, row_id)["pod_name"]), "one\ntwo\n")
    return row_id


@pytest.fixture
def ada(api: Api) -> Iterator[httpx.Client]:
    with api.as_user("ada") as client:
        yield client


def read(client: httpx.Client, worker: Worker, address: str) -> dict[str, object]:
    """The next chunk, of a worker that works whenever there is none."""
    found = client.get(address).json()
    while found["text"] is None and found["ended"] is None:
        worker.run()
        found = client.get(address, params={"cursor": found["cursor"]}).json()
    return dict(found)


def test_what_comes_next_is_told_and_no_body(api: Api, ada: httpx.Client) -> None:
    """When what is due, of a row of one's own."""
    row_id = reservation(api.conn, "pending", disk_name=None)
    api.conn.execute("delete from pgmq.q_gpu_reservations")
    api.conn.execute(
        "select pgmq.send('gpu_reservations', jsonb_build_object('action', 'extend', 'reservation_id', %s::text,"
        " 'user_id', 'ada', 'secret', 'hush'), 60)",
        (row_id,),
    )

    answer = ada.get(f"/v1/reservations/{row_id}/timeline")

    (coming,) = answer.json()["coming"]
    assert coming["what"] == "extend"
    assert coming["why"].startswith("due in ")
    assert "hush" not in answer.text


@pytest.mark.parametrize(("who", "seen"), [(ADA, 1), (BOB, 0), (OPS, 1)])
def test_messages_are_told_of_rows_that_one_may_see(dsn: str, conn: Connection, who: object, seen: int) -> None:
    """And by no other field than one that names rows."""
    row_id = create(conn)
    reservation(conn, "pending", reservation_id=row_id)
    ask = "select count(*) from public.messages_about('gpu_reservations', %s, %s)"

    with serving_on(dsn) as serving, speaking_for(serving, who):  # type: ignore[arg-type]  # a principal
        assert serving.execute(ask, ("reservation_id", row_id)).fetchone() == (seen,)
        assert serving.execute(ask, ("gpu_type", "h100")).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            serving.execute("select message from pgmq.q_gpu_reservations")


def buried(conn: Connection, row_id: str, user_id: str, reason: str) -> None:
    """A message of a user about a row that was given up."""
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, message, reason, verdict, enqueued_at) values ("
        "'gpu_reservations', 1, %s, jsonb_build_object('action', 'extend', 'reservation_id', %s::text,"
        " 'user_id', %s::text, 'secret', 'hush'), %s, 'rejection', now())",
        (row_id, row_id, user_id, reason),
    )


@pytest.mark.parametrize("is_on", [False, True], ids=["rls off", "rls on"])
def test_a_timeline_has_the_dead_letters_of_ones_own_messages_and_an_operator_sees_all(
    api: Api, ada: httpx.Client, *, is_on: bool
) -> None:
    """Never a body; nor what a stranger has asked of the row."""
    api.conn.execute("select public.switch_row_level_security(%s)", (is_on,))
    row_id = reservation(api.conn, "pending", disk_name=None)
    buried(api.conn, row_id, "ada", "too many hours")
    buried(api.conn, row_id, "mallory", "not theirs")
    buried(api.conn, "another", "ada", "about another row")

    with api.as_user("ops", "DEVOPS") as ops:
        mine, theirs = (client.get(f"/v1/reservations/{row_id}/timeline") for client in (ada, ops))

    told = [
        [each["why"] for each in answer.json()["past"] if each["what"].startswith("dead letter ")]
        for answer in (mine, theirs)
    ]
    assert told == [["extend: too many hours"], ["extend: too many hours", "extend: not theirs"]]
    assert "hush" not in mine.text + theirs.text


def test_what_a_pod_has_written_and_writes_comes_chunk_by_chunk(
    ada: httpx.Client, worker: Worker, box: Box, row_id: str, conn: Connection
) -> None:
    """Each once, by the cursor that the answer before has given."""
    address = f"/v1/reservations/{row_id}/logs"

    first = read(ada, worker, address)
    box.log("gpu-dev", str(row_of(conn, row_id)["pod_name"]), "three\n", more=True)
    second = read(ada, worker, f"{address}?cursor={first['cursor']}")

    assert (first["text"], second["text"]) == ("one\ntwo\n", "three\n")


def test_a_first_answer_waits_for_a_worker_and_holds_no_session_meanwhile(
    api: Api, ada: httpx.Client, worker: Worker, row_id: str, conn: Connection
) -> None:
    """It opens the request and answers with a cursor where nothing comes; meanwhile no session of the API is in use."""
    answer = ada.get(f"/v1/reservations/{row_id}/logs")

    assert (answer.status_code, answer.json()["text"], answer.json()["ended"]) == (200, None, None)
    assert answer.json()["cursor"]
    assert conn.execute("select count(*), count(ended) from public.log_requests").fetchone() == (1, 0)
    busy = "select count(*) from pg_stat_activity where state = 'idle in transaction' and datname = current_database()"
    until(lambda: conn.execute(busy.encode()).fetchone() == (0,))
    assert read(ada, worker, f"/v1/reservations/{row_id}/logs?cursor={answer.json()['cursor']}")["text"] == "one\ntwo\n"


def test_anothers_logs_are_not_there_and_an_operators_are(
    api: Api, worker: Worker, ada: httpx.Client, row_id: str
) -> None:
    """Nor is a chunk by a cursor that another has got."""
    cursor = ada.get(f"/v1/reservations/{row_id}/logs").json()["cursor"]
    worker.run()

    with api.as_user("bob") as bob, api.as_user("ops", role="DEVOPS") as ops:
        assert bob.get(f"/v1/reservations/{row_id}/logs").status_code == 404
        assert bob.get(f"/v1/reservations/{row_id}/logs", params={"cursor": cursor}).status_code == 404
        stolen = ops.get(f"/v1/reservations/{row_id}/logs", params={"cursor": cursor}).json()
        own = read(ops, worker, f"/v1/reservations/{row_id}/logs")

    assert (stolen["text"], stolen["ended"]) == (None, "it was forgotten")
    assert own["text"] == "one\ntwo\n"


def test_one_that_is_over_gives_what_is_kept_and_one_that_waits_says_so(api: Api, ada: httpx.Client) -> None:
    """Without a cursor: nothing follows."""
    over = reservation(api.conn, "cancelled", disk_name=None, pod_logs="kept\n")
    waits = reservation(api.conn, "pending", disk_name=None)

    kept, none = (ada.get(f"/v1/reservations/{row_id}/logs").json() for row_id in (over, waits))

    assert (kept["text"], kept["cursor"], kept["ended"]) == ("kept\n", None, "it is cancelled")
    assert (none["text"], none["cursor"], none["ended"]) == (None, None, "it has no pod yet")


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIiwiYiIsMV0", "é"])
def test_a_cursor_that_no_answer_gave_is_refused(api: Api, ada: httpx.Client, cursor: str) -> None:
    """As a mistake of who asks."""
    row_id = reservation(api.conn, "active", disk_name=None)

    assert ada.get(f"/v1/reservations/{row_id}/logs", params={"cursor": cursor}).status_code == 400


def test_one_sees_how_much_one_may_have(api: Api, ada: httpx.Client) -> None:
    """Of another an operator does."""
    reservation(api.conn, "pending", disk_name=None)

    limits = {limit["name"]: limit for limit in ada.get("/v1/policies").json()["items"]}

    assert (limits["reservations"]["most"], limits["reservations"]["used"]) == (200, 1)
    assert ada.get("/v1/policies", params={"user_id": "bob"}).status_code == 403
    with api.as_user("ops", role="DEVOPS") as ops:
        assert ops.get("/v1/policies", params={"user_id": "ada"}).json()["items"][0]["user_id"] == "ada"
