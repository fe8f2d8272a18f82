"""Lines: who asks, books, pauses, ends, in any order; the line keeps its order, and every start that was promised."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from worlds.fleet import Connection, Worker, move_clock, stop_clock
from worlds.small.chosen import chosen

TOTAL = 8
MINUTE_S, HOUR_S = 60, 3600
LOOK = """
insert into pgmq.q_gpu_reservations (vt, message)
values (public.fleet_now(), '{"action": "admit", "gpu_type": "h100"}')
"""
ASK = """
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at,
  waiting_since, start_at)
values (%(id)s, 'ada', 'pending', 'h100', %(gpus)s, %(hours)s, public.fleet_now(),
  coalesce(public.fleet_now() + %(booked_s)s * interval '1 s', public.fleet_now()),
  public.fleet_now() + %(booked_s)s * interval '1 s')
"""
BEGIN = """
update public.reservations set status = 'active', launched_at = public.fleet_now(),
  expires_at = public.fleet_now() + duration_hours * interval '1 hour'
where status = 'preparing' and reservation_id = any (%s) returning reservation_id
"""
END = """
update public.reservations set status = %s, gpus_held = 0, reservation_ended = public.fleet_now()
where reservation_id = %s
"""
FRONT = "select reservation_id from public.fronts_of_lines('{h100}', null) order by place"
BOOKED = "select reservation_id from public.booked_units where gpu_type = 'h100' order by start_at, reservation_id"
WAITING = """
select reservation_id, extract(epoch from promised_at - public.fleet_now())::float8
from public.reservations where status in ('pending', 'queued') and promised_at is not null
"""
CLEAN = """
set session_replication_role = replica;
truncate public.reservations cascade;
truncate pgmq.q_gpu_reservations;
update public.gpu_types
set held_gpus = 0, follows_nodes = false, total_cluster_gpus = 8, max_per_node = 8, is_active = true
where gpu_type = 'h100';
set session_replication_role = origin;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
"""


@dataclass
class Unit:
    """What somebody has asked for; times are seconds since the example began."""

    gpus: int
    hours: float
    since_s: float
    number: int
    booked_s: float | None = None
    paused_until_s: float = 0.0
    ends_s: float | None = None


@dataclass
class Model:
    """Who waits and who runs. A promise is when somebody starts at the latest, as it was told first."""

    now_s: float = 0.0
    waiting: dict[str, Unit] = field(default_factory=dict)
    running: dict[str, Unit] = field(default_factory=dict)
    promised: dict[str, float] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return TOTAL - sum(unit.gpus for unit in self.running.values())

    def in_line(self) -> list[str]:
        there = {
            row_id: unit
            for row_id, unit in self.waiting.items()
            if unit.booked_s is None and unit.paused_until_s <= self.now_s
        }
        return sorted(there, key=lambda row_id: (there[row_id].since_s, there[row_id].number))

    def booked(self) -> list[str]:
        there = {
            row_id: unit.booked_s
            for row_id, unit in self.waiting.items()
            if unit.booked_s is not None and unit.paused_until_s <= self.now_s
        }
        return sorted(there, key=lambda row_id: (there[row_id], row_id))


class LineLife(RuleBasedStateMachine):
    def __init__(self, conn: Connection, worker: Worker) -> None:
        super().__init__()
        self.conn, self.worker = conn, worker
        self.model = Model()
        self.number = 0
        conn.execute(CLEAN)
        stop_clock(conn)

    # What people do.

    @rule(gpus=st.sampled_from([1, 2, 4, 8]), hours=st.sampled_from([1.0, 3.0, 10.0]))
    def ask(self, gpus: int, hours: float) -> None:
        self._ask(gpus, hours, None)
        self.look()

    @rule(gpus=st.sampled_from([2, 4, 8]), hours=st.sampled_from([1.0, 3.0]), in_hours=st.sampled_from([1, 2, 5]))
    def book(self, gpus: int, hours: float, in_hours: int) -> None:
        self._ask(gpus, hours, in_hours * HOUR_S)
        self.look()

    def _ask(self, gpus: int, hours: float, booked_s: int | None) -> None:
        self.number += 1
        row_id = f"r{self.number:03}"
        self.conn.execute(ASK, {"id": row_id, "gpus": gpus, "hours": hours, "booked_s": booked_s})
        at = None if booked_s is None else self.model.now_s + booked_s
        since = self.model.now_s if at is None else at
        self.model.waiting[row_id] = Unit(gpus, hours, since, self.number, at)

    @precondition(lambda self: self.model.waiting)
    @rule(pick=st.integers(0, 20))
    def cancel(self, pick: int) -> None:
        row_id = sorted(self.model.waiting)[pick % len(self.model.waiting)]
        self.conn.execute(END, ("cancelled", row_id))
        del self.model.waiting[row_id]
        self.model.promised.pop(row_id, None)
        self.look()

    @precondition(lambda self: self.model.running)
    @rule(pick=st.integers(0, 20))
    def end_early(self, pick: int) -> None:
        self._end(sorted(self.model.running)[pick % len(self.model.running)])
        self.look()

    @precondition(lambda self: self.model.in_line())
    @rule(pick=st.integers(0, 20))
    def find_no_node(self, pick: int) -> None:
        """It lets others pass for ten minutes, and loses what it was promised."""
        row_id = self.model.in_line()[pick % len(self.model.in_line())]
        later = (
            "update public.reservations set retry_at = public.fleet_now() + interval '10 minutes', promised_at = null"
        )
        self.conn.execute(f"{later}, promised_nodes = null where reservation_id = %s".encode(), (row_id,))
        self.model.waiting[row_id].paused_until_s = self.model.now_s + 10 * MINUTE_S
        self.model.promised.pop(row_id, None)
        self.look()

    # What time does: nobody stays longer than was asked for, so what is promised by that has to be kept.

    @rule(minutes=st.sampled_from([5, 30, 60, 180]))
    def let_time_pass(self, minutes: int) -> None:
        until_s = self.model.now_s + minutes * MINUTE_S
        while (at_s := self._next_s(until_s)) < until_s:
            self._go_to(at_s)
        self._go_to(until_s)

    def _next_s(self, until_s: float) -> float:
        """When something is to happen: an end, a booking, a promise, the end of a pause."""
        moments = [
            *(unit.ends_s for unit in self.model.running.values() if unit.ends_s is not None),
            *(unit.booked_s for unit in self.model.waiting.values() if unit.booked_s is not None),
            *(unit.paused_until_s for unit in self.model.waiting.values()),
            *self.model.promised.values(),
        ]
        return min((at for at in moments if at > self.model.now_s), default=until_s)

    def _go_to(self, at_s: float) -> None:
        move_clock(self.conn, at_s - self.model.now_s)
        self.model.now_s = at_s
        for row_id, unit in list(self.model.running.items()):
            if unit.ends_s is not None and unit.ends_s <= at_s:
                self._end(row_id)
        self.look()

    def _end(self, row_id: str) -> None:
        self.conn.execute(END, ("expired", row_id))
        del self.model.running[row_id]

    # What the worker does.

    def look(self) -> None:
        """The line is looked at, and whoever was let in runs at once. Nothing but the line is the worker's here."""
        for _ in range(3):
            self.conn.execute("delete from pgmq.q_gpu_reservations")
            self.conn.execute(LOOK)
            assert self.worker.run_once() == 1
        refused = self.conn.execute("select reservation_id from public.reservations where status = 'failed'").fetchall()
        for (row_id,) in refused:
            unit = self.model.waiting.pop(row_id, None)
            assert unit is None or unit.booked_s is not None, "only a booking that would not hold is refused"
            self.model.promised.pop(row_id, None)
        started = self.conn.execute(BEGIN, (list(self.model.waiting),)).fetchall()
        for (row_id,) in started:
            self._start(row_id)
        for row_id, in_s in self.conn.execute(WAITING).fetchall():
            at_s = self.model.now_s + in_s
            assert at_s <= self.model.promised.get(row_id, at_s) + 1, f"{row_id} starts later than it was promised"
            self.model.promised[row_id] = min(at_s, self.model.promised.get(row_id, at_s))

    def _start(self, row_id: str) -> None:
        unit = self.model.waiting.pop(row_id)
        assert unit.gpus <= self.model.free, "more are let in than there is room for"
        assert unit.booked_s is None or self.model.now_s >= unit.booked_s, "before its time"
        assert self.model.now_s <= self.model.promised.pop(row_id, self.model.now_s) + 1, "after its promise"
        unit.ends_s = self.model.now_s + unit.hours * HOUR_S
        self.model.running[row_id] = unit

    # What holds at every moment.

    @invariant()
    def the_line_is_in_its_order(self) -> None:
        assert [row_id for (row_id,) in self._all(FRONT)] == self.model.in_line()
        assert [row_id for (row_id,) in self._all(BOOKED)] == self.model.booked()

    @invariant()
    def gpus_held_are_those_of_who_runs(self) -> None:
        [(held, total)] = self._all(
            "select held_gpus, total_cluster_gpus from public.gpu_types where gpu_type = 'h100'"
        )
        assert (held, total) == (TOTAL - self.model.free, TOTAL)
        assert self.model.free >= 0

    @invariant()
    def the_first_waits_only_for_gpus(self) -> None:
        """Unless somebody has booked them."""
        line = self.model.in_line()
        if line and not self.model.booked():
            assert self.model.waiting[line[0]].gpus > self.model.free

    @invariant()
    def who_was_promised_a_start_has_begun(self) -> None:
        assert {row_id for row_id, at in self.model.promised.items() if at < self.model.now_s - 1} == set()

    def _all(self, statement: str) -> list[tuple[Any, ...]]:
        return self.conn.execute(statement.encode()).fetchall()


def test_whatever_people_do_the_line_keeps_its_order_and_its_promises(conn: Connection, worker: Worker) -> None:
    class Life(LineLife):
        def __init__(self) -> None:
            super().__init__(conn, worker)

    run_state_machine_as_test(Life, settings=chosen(8, steps=20))
