"""The door of each queue: what a login that may send can put into it, and what it can't."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.asking import Asked, Role, asked
from pgfleet.schema.kinds import contracts
from worlds.database import Connection
from worlds.fleet import move_clock, stop_clock
from worlds.strangers import QUEUES, stranger_dsn, stranger_on

QUEUE = "gpu_reservations"
CANCEL = {"action": "cancel", "reservation_id": str(uuid4()), "user_id": "bob"}
SEND = "select pgmq.send(%s, %s::jsonb, %s::jsonb)"


@pytest.fixture
def stranger(dsn: str) -> Iterator[Connection]:
    with stranger_on(dsn) as conn:
        yield conn


def last(conn: Connection, column: LiteralString = "*") -> Any:
    found = conn.execute(
        f"select {column} from pgmq.q_gpu_reservations order by enqueued_at desc, msg_id desc"
    ).fetchone()
    assert found is not None
    return found[0]


def login(conn: Connection) -> str:
    return conn.info.user


def refused(conn: Connection, body: Any, headers: Any = None, queue: str = QUEUE) -> str:
    with pytest.raises(psycopg.errors.Error) as error:
        conn.execute(SEND, (queue, Jsonb(body), None if headers is None else Jsonb(headers)))
    assert error.value.sqlstate == "PF011"
    return str(error.value)


def test_what_a_kind_publishes_is_what_its_door_lets_in(conn: Connection) -> None:
    doors = "select substr(tgrelid::regclass::text, 8), tgargs from pg_trigger where tgname = 'door' and tgnargs > 0"
    let_in = {queue: set(bytes(words).decode().split("\0")[:-1]) for queue, words in conn.execute(doors)}

    assert let_in == {contract.queue: contract.actions for contract in contracts().values()}


@pytest.mark.parametrize("queue", QUEUES)
def test_a_stranger_sends_no_action_of_workers(stranger: Connection, queue: str) -> None:
    assert "sweep" in refused(stranger, {"action": "sweep"}, queue=queue)


@pytest.mark.parametrize(
    "body", [None, 1, [], "cancel", {}, {"action": None}, {"action": ["cancel"]}, {"type": "sweep"}]
)
def test_a_stranger_sends_no_body_that_says_nothing(stranger: Connection, body: Any) -> None:
    assert "It is one of: create_reservation" in refused(stranger, body)


def test_a_stranger_sends_no_null(stranger: Connection) -> None:
    with pytest.raises(psycopg.errors.Error, match="is not what is sent"):
        stranger.execute("insert into pgmq.q_gpu_reservations (vt, message) values (now(), null)")


def test_older_senders_cancel_as_they_did(stranger: Connection, conn: Connection) -> None:
    body = {"type": "cancellation", "reservation_id": str(uuid4()), "user_id": "bob"}

    stranger.execute(SEND, (QUEUE, Jsonb(body), None))

    assert last(conn, "message") == body


def test_a_large_body_is_refused_also_where_it_is_stored_small(stranger: Connection) -> None:
    assert "256 KiB" in refused(stranger, CANCEL | {"x_more": "x" * 262_144})
    with pytest.raises(psycopg.errors.Error, match="256 KiB"):
        stranger.execute(
            "select pgmq.send('gpu_reservations', jsonb_build_object('action', 'cancel', 'x_more',"
            " (select jsonb_agg('{}'::jsonb) from generate_series(1, 200000))))"
        )


@pytest.mark.parametrize("headers", [{"x": "x" * 8192}, ["pgfleet"], 1])
def test_headers_are_a_small_object(stranger: Connection, headers: Any) -> None:
    assert "8 KiB" in refused(stranger, CANCEL, headers)


def test_what_only_workers_write_into_headers_is_dropped_and_who_asks_is_stamped(
    stranger: Connection, conn: Connection
) -> None:
    forged = {"pgfleet": {"attempts": -5}, "asked_by": "bob", "asked_role": "ADMIN", "traceparent": "00-1"}

    stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), Jsonb(forged)))

    assert last(conn, "headers") == {"traceparent": "00-1", "asked_by": login(stranger), "asked_role": "USER"}
    assert last(conn, "message") == CANCEL


def test_a_service_names_whom_it_asks_for(dsn: str, conn: Connection, roles: None) -> None:
    with stranger_on(dsn, role="pgfleet_sender") as service:
        service.execute(SEND, (QUEUE, Jsonb(CANCEL), None))
        assert asked(last(conn, "headers")) == Asked("bob", Role.SERVICE)

        service.execute(SEND, (QUEUE, Jsonb(CANCEL), Jsonb({"asked_by": "carol", "asked_role": "ADMIN"})))
        assert asked(last(conn, "headers")) == Asked("carol", Role.SERVICE)


def test_the_api_hands_over_whom_it_has_proven(dsn: str, conn: Connection, roles: None) -> None:
    with stranger_on(dsn, role="pgfleet_api") as api, api.transaction():
        api.execute("""select set_config('request.jwt.claims', '{"sub": "dora", "pgfleet_role": "DEVOPS"}', true)""")
        api.execute(SEND, (QUEUE, Jsonb(CANCEL), Jsonb({"asked_by": "bob"})))

    assert asked(last(conn, "headers")) == Asked("dora", Role.DEVOPS)


def test_claims_are_believed_of_the_api_only(stranger: Connection, conn: Connection) -> None:
    stranger.execute("""select set_config('request.jwt.claims', '{"sub": "bob", "pgfleet_role": "ADMIN"}', false)""")

    stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), None))

    assert asked(last(conn, "headers")) == Asked(login(stranger), Role.USER)


def test_times_and_numbers_of_a_stranger_are_the_databases(stranger: Connection, conn: Connection) -> None:
    stranger.execute(
        """insert into pgmq.q_gpu_reservations (msg_id, read_ct, enqueued_at, last_read_at, vt, message)
        overriding system value
        values (9000000000000000000, 2147483647, '2000-01-02', now(), now() - interval '47 hours', %s)""",
        [Jsonb(CANCEL)],
    )

    row = conn.execute(
        "select msg_id, read_ct, enqueued_at = vt and vt > now() - interval '1 minute', last_read_at"
        " from pgmq.q_gpu_reservations"
    ).fetchone()
    assert row is not None
    assert row[0] < 1000
    assert row[1:] == (0, True, None)


def test_a_stranger_delays_a_message_for_two_weeks_at_most(stranger: Connection, conn: Connection) -> None:
    stranger.execute("select pgmq.send('gpu_reservations', %s, 86400 * 365)", [Jsonb(CANCEL)])

    assert conn.execute("select vt - enqueued_at = '14 days' from pgmq.q_gpu_reservations").fetchone() == (True,)


@pytest.mark.parametrize("when", ["infinity", "-infinity"])
def test_a_message_is_due_at_a_time(stranger: Connection, when: str) -> None:
    with pytest.raises(psycopg.errors.Error, match="due at a time"):
        stranger.execute("insert into pgmq.q_gpu_reservations (vt, message) values (%s, %s)", [when, Jsonb(CANCEL)])


@pytest.mark.parametrize("column", ["vt", "enqueued_at", "last_read_at"])
@pytest.mark.parametrize("when", ["infinity", "294276-01-01", "4000-01-01 BC"])
def test_nobody_puts_a_time_into_a_queue_that_a_worker_could_not_load(
    conn: Connection, column: LiteralString, when: str
) -> None:
    given = {"vt": "now()", "enqueued_at": "now()", "last_read_at": "null"} | {column: f"'{when}'"}

    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(
            f"insert into pgmq.q_gpu_reservations (vt, enqueued_at, last_read_at, message)"  # of a list
            f" values ({given['vt']}, {given['enqueued_at']}, {given['last_read_at']}, '{{}}')".encode()
        )


TAKING: tuple[LiteralString, ...] = (
    "select pgmq.read('gpu_reservations', 30, 1)",
    "select pgmq.delete('gpu_reservations', 1)",
    "update pgmq.q_gpu_reservations set vt = now()",
    "truncate pgmq.q_gpu_reservations",
)


@pytest.mark.parametrize("statement", TAKING)
def test_a_stranger_takes_no_messages_though_somebody_gave_it_the_right(
    stranger: Connection, conn: Connection, statement: LiteralString
) -> None:
    conn.execute(f'grant all on pgmq.q_gpu_reservations to "{login(stranger)}"'.encode())

    with pytest.raises(psycopg.errors.Error, match="only workers take messages"):
        stranger.execute(statement)


def test_a_search_path_of_its_own_opens_no_door(stranger: Connection, conn: Connection) -> None:
    name = login(stranger)
    conn.execute(f'create schema "{name}" authorization "{name}"'.encode())
    stranger.execute(
        f"""
      create function "{name}".pg_has_role(name, oid, text) returns boolean language sql as 'select true';
      create function "{name}".octet_length(text) returns integer language sql as 'select 1';
      create function "{name}".coalesce_is(jsonb, text) returns text language sql as 'select ''cancel''';
      create operator "{name}".->> (leftarg = jsonb, rightarg = text, function = "{name}".coalesce_is);
      set search_path = "{name}", pg_catalog
    """.encode()
    )

    stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), None))

    assert asked(last(conn, "headers")) == Asked(name, Role.USER)
    assert "sweep" in refused(stranger, {"action": "sweep"})


def test_the_owner_and_workers_pass_unstamped(conn: Connection, roles: None) -> None:
    conn.execute(SEND, (QUEUE, Jsonb({"action": "sweep"}), None))

    assert last(conn, "headers") is None
    with conn.transaction():
        conn.execute("set local role pgfleet_worker_reservation")
        conn.execute(SEND, (QUEUE, Jsonb({"action": "sweep"}), None))
    assert last(conn, "headers") is None


def test_answers_to_nodes_are_sent_by_workers_only(dsn: str, conn: Connection) -> None:
    conn.execute("select public.create_queue('node_replies_1')")

    with stranger_on(dsn, queues=["node_replies_1"]) as stranger:
        assert "Only workers send to it" in refused(stranger, {"action": "heartbeat"}, queue="node_replies_1")


def test_messages_of_before_the_door_get_times_that_can_be_loaded(conn: Connection) -> None:
    conn.execute("alter table pgmq.q_gpu_reservations drop constraint times_have_an_end")
    conn.execute("insert into pgmq.q_gpu_reservations (vt, enqueued_at, message) values ('infinity', 'infinity', '{}')")

    conn.execute("select public.close_door('gpu_reservations', '{cancel}', true)")

    assert conn.execute("select isfinite(vt) and isfinite(enqueued_at) from pgmq.q_gpu_reservations").fetchone() == (
        True,
    )


@pytest.fixture
def roles(conn: Connection) -> None:
    conn.execute("select public.switch_row_level_security(true)")


def test_clocks_of_tests_move_the_door_as_well(stranger: Connection, conn: Connection) -> None:
    move_clock(conn, 5 * 3600)

    stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), None))

    assert conn.execute("select vt > now() + interval '4 hours' from pgmq.q_gpu_reservations").fetchone() == (True,)


MANY = "insert into pgmq.q_gpu_reservations (vt, message) select now(), %s from generate_series(1, %s)"
DUE = "select count(*) from pgmq.q_gpu_reservations where vt <= public.fleet_now()"


def due(conn: Connection) -> int:
    row = conn.execute(DUE).fetchone()
    assert row is not None
    return int(row[0])


def test_a_flood_of_one_login_is_due_a_little_at_a_time(stranger: Connection, conn: Connection) -> None:
    # On a busy machine it takes so long to send them that many would be due by then.
    stop_clock(conn)
    stranger.execute(MANY, [Jsonb(CANCEL), 10_000])

    move_clock(conn, 5)
    assert 50 < due(conn) < 800
    move_clock(conn, 3600)
    assert due(conn) == 10_000


def test_a_flood_of_one_login_delays_no_other(stranger: Connection, conn: Connection, dsn: str) -> None:
    stranger.execute(MANY, [Jsonb(CANCEL), 10_000])

    with stranger_on(dsn) as other:
        other.execute(MANY, [Jsonb(CANCEL), 100])

    of_the_other = f"{DUE} and headers ->> 'asked_by' <> %s"
    assert conn.execute(of_the_other, (login(stranger),)).fetchone() == (100,)


def test_large_messages_count_as_many_and_nobody_counts_backwards(dsn: str, conn: Connection) -> None:
    with stranger_on(dsn) as stranger:
        stranger.execute(MANY, [Jsonb(CANCEL | {"x_more": "x" * 65_536}), 100])
        stranger.execute("select public.count_send('pgmq.q_gpu_reservations'::regclass, -2147483648)")

        stranger.execute(MANY, [Jsonb(CANCEL), 200])

    assert 0 < due(conn) < 20
    move_clock(conn, 100 * 17 / 20 + 60)
    assert due(conn) == 300


def test_what_one_login_lets_wait_has_an_end(dsn: str, conn: Connection) -> None:
    with stranger_on(dsn) as stranger, stranger_on(dsn) as other:
        stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), None))
        conn.execute("update public.senders set next_at = next_at + '1 day 1 minute'::interval")

        assert "more than is done in a day" in refused(stranger, CANCEL)
        other.execute(SEND, (QUEUE, Jsonb(CANCEL), None))

    assert due(conn) == 2


def test_a_flood_is_counted_while_another_transaction_of_the_login_is_open(dsn: str, conn: Connection) -> None:
    with stranger_dsn(dsn) as own, psycopg.connect(own) as first, psycopg.connect(own, autocommit=True) as second:
        first.execute(MANY, [Jsonb(CANCEL), 200])

        for _ in range(20):
            second.execute(MANY, [Jsonb(CANCEL), 500])

        assert due(conn) < 1000


def test_a_service_is_trusted_to_send_much_at_once(dsn: str, conn: Connection, roles: None) -> None:
    with stranger_on(dsn, role="pgfleet_sender") as service:
        service.execute(MANY, [Jsonb(CANCEL), 3000])

    assert due(conn) == 3000


EVADING = """
do $$ begin
  for n in 1..1000 loop
    begin
      insert into pgmq.q_gpu_reservations (vt, message) values (now(), '{"action": "cancel"}');
      if exists (
        select from pg_locks
        where relation = 'public.senders'::regclass and mode = 'RowExclusiveLock' and pid = pg_backend_pid())
      then
        raise exception 'it was counted';
      end if;
    exception when raise_exception then null;
    end;
  end loop;
end $$
"""


def test_who_takes_back_what_was_counted_sends_no_more_than_others(stranger: Connection, conn: Connection) -> None:
    for _ in range(3):
        stranger.execute(EVADING)

    assert due(conn) <= 200


def test_a_flood_is_due_a_little_at_a_time_also_where_it_is_due_later(stranger: Connection, conn: Connection) -> None:
    later = MANY.replace("now()", "now() + interval '20 days'")

    stranger.execute(later, [Jsonb(CANCEL), 2000])

    move_clock(conn, 14 * 86_400 + 5)
    assert 150 < due(conn) < 400


def test_what_a_login_sends_at_once_in_many_sessions_counts_together(dsn: str, conn: Connection) -> None:
    with stranger_dsn(dsn) as own, ExitStack() as stack:
        sessions = [stack.enter_context(psycopg.connect(own)) for _ in range(5)]
        for session in sessions:
            session.execute(MANY, [Jsonb(CANCEL), 100])
        for session in sessions:
            session.commit()

        sessions[0].execute(MANY, [Jsonb(CANCEL), 1])
        sessions[0].commit()

    lanes = conn.execute("select count(*), max(next_at) > now() + interval '20 s' from public.senders").fetchone()
    assert lanes == (1, True)


def test_the_first_two_hundred_of_a_login_are_due_at_once_one_by_one_or_together(
    stranger: Connection, conn: Connection
) -> None:
    stranger.execute(MANY, [Jsonb(CANCEL), 100])
    for _ in range(60):
        stranger.execute(SEND, (QUEUE, Jsonb(CANCEL), None))

    assert due(conn) == 160
