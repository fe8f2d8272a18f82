"""What operators look at: who works, what goes through queues, and messages without their secrets."""

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgfleet.schema.reads.pages import letter
from pgfleet.schema.reads.pictures import figures, queues
from worlds.database import Connection

# More than the server's statistics have room for before they are told to others.
TOLD = "select pg_stat_force_next_flush()"


def shown(conn: Connection, body: Any) -> Any:
    return conn.execute("select public.shown_json(%s)", (Jsonb(body),)).fetchall()[0][0]


@pytest.mark.parametrize("name", ["api_key", "HF_TOKEN", "password", "clientSecret", "kubeconfig", "private_pem"])
def test_no_value_under_the_name_of_a_secret_is_shown_at_any_depth(conn: Connection, name: str) -> None:
    for value in ("s3cret", 12345, {"a": "s3cret"}, ["s3cret"]):
        assert shown(conn, {"a": [{name: value}]}) == {"a": [{name: "***"}]}


def test_of_variables_the_names_are_shown_and_of_a_command_nothing(conn: Connection) -> None:
    told = shown(conn, {"env_vars": {"A": "x", "B": "y"}, "command": "curl secret", "name": "mine"})

    assert told == {"env_vars": {"A": "***", "B": "***"}, "command": "***", "name": "mine"}


def test_what_is_shown_is_bounded(conn: Connection) -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = {"a": deep}

    told = shown(conn, {"long": "x" * 10_000, "deep": deep, "wide": list(range(1000))})

    assert len(told["long"]) == 503
    assert len(told["wide"]) == 100
    assert len(json.dumps(told["deep"])) < 100


def test_of_a_field_that_no_message_has_only_the_name_is_shown(conn: Connection) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at) values"
        """ ('gpu_reservations', 1, '{"action": "cancel", "user_id": "ada", "pin": "0000"}', 'x', now())"""
    )
    number = conn.execute("select dead_letter_id from public.dead_letters").fetchall()[0][0]

    row = letter.by_number(conn, number)

    assert row is not None
    told = letter.whole(conn, row)["message"]
    assert told == {"action": "cancel", "user_id": "ada", "pin": letter.UNKNOWN}


def test_a_worker_is_one_row_which_says_what_it_has_in_hand(conn: Connection) -> None:
    for in_hand in (3, 7):
        conn.execute("select public.note_worker('disk@a:1', 'disk_operations', '1.0', %s)", (in_hand,))

    (row,) = queues.workers(conn)

    assert (row["worker"], row["version"], row["in_hand"]) == ("disk@a:1", "1.0", 7)
    assert row["silent_s"] < 60


def test_a_worker_that_was_away_has_begun_anew(conn: Connection) -> None:
    conn.execute("select public.note_worker('disk@a:1', 'disk_operations', '1.0', 0)")
    conn.execute("update public.workers set started_at = now() - interval '1 d', seen_at = now() - interval '20 min'")

    conn.execute("select public.note_worker('disk@a:1', 'disk_operations', '1.0', 0)")

    (row,) = queues.workers(conn)
    assert (row["seen_at"] - row["started_at"]).total_seconds() == 0


def test_what_came_and_went_is_told_as_messages_a_minute(conn: Connection) -> None:
    figures.take(conn, "me", 60)
    conn.execute("update public.figures set at = at - interval '10 minutes'")
    conn.execute("select pgmq.send('disk_operations', '{}'::jsonb) from generate_series(1, 100)")
    conn.execute(
        "delete from pgmq.q_disk_operations where msg_id in (select msg_id from pgmq.q_disk_operations limit 30)"
    )
    conn.execute(TOLD)

    row = next(row for row in queues.board(conn) if row["queue"] == "disk_operations")

    # Ten to fifteen minutes ago: figures are kept at full five minutes.
    assert 100 / 15.1 <= row["in_a_minute"] <= 100 / 9.9
    assert 30 / 15.1 <= row["out_a_minute"] <= 30 / 9.9


def test_a_server_that_counts_anew_makes_no_rate_below_nothing(conn: Connection) -> None:
    for ago, number in ((15, 1000), (10, 1600), (5, 20)):
        conn.execute(
            "insert into public.figures (at, figure, about, state, value)"
            " values (now() - make_interval(mins => %s), 'queue_flow', 'disk_operations', 'in', %s)",
            (ago, number),
        )

    flows = queues.flows_of_a_day(conn)["disk_operations", "in"]

    assert [round(value) for value in flows] == [120]


def test_letters_are_counted_by_queue_and_verdict_without_those_that_are_answered(conn: Connection) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, reason, verdict, enqueued_at, answered_at, answer)"
        " select 'disk_operations', n, 'x', case when n <= 2 then 'rejection' else 'failure' end, now(),"
        " case when n = 9 then now() end, case when n = 9 then 'discarded' end from generate_series(1, 9) n"
    )

    counted = [(row["queue"], row["verdict"], row["number"]) for row in queues.open_letters(conn)]

    assert counted == [("disk_operations", "failure", 6), ("disk_operations", "rejection", 2)]
