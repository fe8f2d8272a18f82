"""Outcomes with values of another type than their columns are refused loudly; the database would take them."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from pgfleet.workers.runtime.inside.fitting import refuse_unfit
from pgfleet.workers.runtime.outcomes import Advance, Done, New, Outcome, Send, Wait
from worlds.fleet import move_clock, settings_for, worker_on
from worlds.small.kind import do, small_kind
from worlds.small.world import Small

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # that is what is tried
THINGS = sa.Table(
    "small_things",
    sa.MetaData(schema="public"),
    sa.Column("thing_id", sa.Uuid, primary_key=True),
    sa.Column("at", sa.TIMESTAMP(timezone=True)),
    sa.Column("weight", sa.Float),
    sa.Column("number", sa.Integer),
    sa.Column("yes", sa.Boolean),
    sa.Column("name", sa.Text),
    sa.Column("more", sa.JSON),
)
ID = uuid.UUID("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")


def new(**values: Any) -> Advance:
    return Advance((New(THINGS, None, "", {"thing_id": ID, **values}),))


@pytest.fixture
def things(small: Small) -> Iterator[Small]:
    small.conn.execute(
        "create table public.small_things (thing_id uuid primary key, at timestamptz, weight float8, number integer,"
        " yes boolean, name text, more jsonb)"
    )
    yield small
    small.conn.execute("drop table public.small_things")


def run(small: Small, outcome: Outcome) -> None:
    """Until its attempts are over."""
    small.send(do(small.job(1)))
    with worker_on(small_kind(step=lambda *_: outcome), settings_for(small.dsn)) as worker:
        for _ in range(3):
            worker.run_once()
            move_clock(small.conn, 80)


@pytest.mark.parametrize("key", [str(ID).upper(), ID.hex, "{" + str(ID) + "}", str(ID), 7])
def test_a_key_of_another_type_fails_the_message_with_the_reason(things: Small, key: Any) -> None:
    run(things, new(thing_id=key))

    assert things.letters() == [f"TypeError: small_things.thing_id can't be a {type(key).__name__}"]
    assert things.status() == "failed"
    assert things.queue() == []


def test_a_key_of_its_type_is_written(things: Small) -> None:
    run(things, new(at=datetime.now(UTC), weight=1, number=2, yes=True, name="x", more={"a": [1]}))

    assert things.one("select thing_id from public.small_things") == ID
    assert (things.letters(), things.queue()) == ([], [])


UNFIT: list[Outcome] = [
    new(at=NAIVE),
    new(at="2026-01-01"),
    new(number="2"),
    new(number=2.5),
    new(number=True),
    new(yes=1),
    new(name=7),
    new(name=ID),
    new(weight="heavy"),
    new(thing_id=None),
    Wait("not yet", NAIVE),
    Wait("not yet", "tomorrow"),  # type: ignore[arg-type]  # that is what is tried
    Done("told", (Send({}, NAIVE),)),
]


@pytest.mark.parametrize("outcome", UNFIT, ids=str)
def test_a_value_of_another_type_is_refused(outcome: Outcome) -> None:
    with pytest.raises(TypeError, match=r"can't be|needs its"):
        refuse_unfit(outcome)


def test_a_row_that_is_changed_twice_by_one_step_is_refused() -> None:
    (first,) = new(number=1).changes

    with pytest.raises(TypeError, match="2 changes of one row of small_things"):
        refuse_unfit(Advance((first, first)))


def test_a_row_that_is_there_and_that_its_step_does_not_see_fails_the_message_in_the_end(things: Small) -> None:
    things.conn.execute("insert into public.small_things (thing_id) values (%s)", (ID,))

    run(things, new())

    why = f"small_things {ID}, or one like it, is there, and its step does not see it"
    assert things.letters() == [f"RuntimeError: {why}"]
    assert things.queue() == []
