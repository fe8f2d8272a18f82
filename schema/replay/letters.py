"""Dead letters: listed, shown, replayed and discarded. An answered one stays, with who answered it."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import Refusal
from pgfleet.schema.kinds import queues
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Outgoing
from pgfleet.schema.rows.core import FLEET_NOW, fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

_d = dead_letters.c


def listing(conn: Connection, queue: str | None, *, answered_too: bool, most: int = 200) -> list[Row]:
    """Dead letters, newest first; answered ones only if asked for."""
    statement = sa.select(*_d).order_by(_d.dead_letter_id.desc()).limit(most)
    if queue is not None:
        statement = statement.where(_d.queue == queue)
    if not answered_too:
        statement = statement.where(_d.answered_at.is_(None))
    return fetch(conn, statement)


def one(conn: Connection, letter_id: int) -> Row:
    """Raises Refusal: there is none of this number."""
    return _found(fetch(conn, sa.select(*_d).where(_d.dead_letter_id == letter_id)), letter_id)


def replay(conn: Connection, letter_id: int, who: str) -> str:
    """Give a message another life, and its row if it failed with it; in one transaction. What was done.

    Raises:
        Refusal: there is no such letter, it is answered already, or its row can't be brought back, at present or ever.
    """
    with conn.transaction():
        letter = _answer(conn, letter_id, "replayed", who)
        done = _revive(conn, letter, who)
        if done is not None:
            return done
        kernel.send(conn, letter["queue"], [Outgoing(letter["message"])])
    return f"sent again to {letter['queue']}"


def _revive(conn: Connection, letter: Row, who: str) -> str | None:
    """Bring the row of a letter back, as the module `schema.replay.<kind>` does for a kind that has one. What was done.

    Returns:
        None where there is nothing to bring back: the message is sent again.
    """
    place = f"pgfleet.schema.replay.{queues().get(letter['queue'])}"
    done: str | None = import_module(place).revive(conn, letter, who) if find_spec(place) else None
    return done


def discard(conn: Connection, letter_id: int, who: str) -> None:
    """Say that nothing needs to be done about a letter.

    Raises:
        Refusal: there is no such letter, or it is answered already.
    """
    with conn.transaction():
        _answer(conn, letter_id, "discarded", who)


def _answer(conn: Connection, letter_id: int, answer: str, who: str) -> Row:
    """Lock a letter and mark it; whoever comes second finds it answered."""
    locked = sa.select(*_d).where(_d.dead_letter_id == letter_id).with_for_update()
    letter = _found(fetch(conn, locked), letter_id)
    if letter["answered_at"] is not None:
        by, at = letter["answered_by"], f"{letter['answered_at']:%Y-%m-%d %H:%M:%S}"
        raise Refusal(f"Dead letter {letter_id} was {letter['answer']} already, by {by} at {at}.")
    values: dict[str, Any] = {"answered_at": FLEET_NOW, "answer": answer, "answered_by": who}
    fetch(conn, sa.update(dead_letters).where(_d.dead_letter_id == letter_id).values(values))
    return letter


def _found(letters: list[Row], letter_id: int) -> Row:
    if not letters:
        raise Refusal(f"There is no dead letter {letter_id}. See `pgfleet dead list`.")
    return letters[0]
