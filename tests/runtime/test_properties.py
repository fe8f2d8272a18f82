"""Whatever happens to messages, in whatever order: none is lost, none counts twice, no stale owner changes anything."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Token
from pgfleet.workers.runtime.decide import release
from pgfleet.workers.runtime.inside.begin import begin
from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.outcomes import Done, Outcome, Reject, Send, TryAgainError, Wait, advance
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work, write
from worlds.fleet import move_clock
from worlds.small.chosen import chosen
from worlds.small.kind import EVENTS, QUEUE, Do, Tools, View, do, small_kind
from worlds.small.world import BROKEN_HISTORIES, CLEAN, Small

ROWS = [1, 2, 3]
WORKERS = st.sampled_from([0, 1])
PICKS = st.integers(0, 9)
LIMIT = 3


def run(message: Do, turn: Turn[View, Tools]) -> Outcome:
    """Moves a row that is ready, and tells of it; a row that is not has been moved by another message."""
    row = turn.view.rows[message.job_id]
    if row.status != "ready":
        return Done("moved already")
    return advance(row, "running", "moved", then=(Send({"told": message.job_id}, queue=EVENTS),))


def break_down(_message: Do, _turn: Turn[View, Tools]) -> Outcome:
    raise RuntimeError("broken")


def wait(_message: Do, turn: Turn[View, Tools]) -> Outcome:
    return Wait("not yet", turn.later(60))


def finish(_message: Do, _turn: Turn[View, Tools]) -> Outcome:
    return Done("nothing to do", (Send({"told": 0}, queue=EVENTS),))


def reject(_message: Do, _turn: Turn[View, Tools]) -> Outcome:
    return Reject("nobody can do this")


def put_off(_message: Do, _turn: Turn[View, Tools]) -> Outcome:
    """Who asks to be tried again later is obeyed, however often; it is no failure."""
    raise TryAgainError("busy", after_s=30)


def fail(message: Do, view: View, reason: str) -> Outcome | None:
    row = view.rows[message.job_id]
    return advance(row, "failed", reason) if row.status == "ready" else None


@dataclass
class Model:
    """What must be true: the messages in the queue with how often each was read, and where the others are."""

    queued: dict[int, int] = field(default_factory=dict)
    about: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    rows: dict[int, str] = field(default_factory=lambda: dict.fromkeys(ROWS, "ready"))
    finished: int = 0
    is_paused: bool = False

    def sent(self, msg_id: int, row: int) -> None:
        assert msg_id not in self.about, "an id is given once"
        self.queued[msg_id] = 0
        self.about[msg_id] = row

    def owns(self, token: Token) -> bool:
        return self.queued.get(token.msg_id) == token.read_ct

    def leave(self, msg_id: int, to: set[int]) -> None:
        del self.queued[msg_id]
        to.add(msg_id)

    def die(self, msg_id: int) -> None:
        self.leave(msg_id, self.dead)
        self.end_row(msg_id, "failed")

    def end_row(self, msg_id: int, status: str) -> None:
        row = self.about[msg_id]
        if self.rows[row] == "ready":
            self.rows[row] = status


class QueueLife(RuleBasedStateMachine):
    def __init__(self, small: Small) -> None:
        super().__init__()
        self.small = small
        self.model = Model()
        self.hands: list[list[Task]] = [[], []]
        small.conn.execute(CLEAN)
        small.all("select public.end_pause('small_jobs')")
        for row in ROWS:
            small.job(row)
            self.send(row, 0)

    # What producers and the time do.

    @rule(row=st.sampled_from(ROWS), delay_s=st.sampled_from([0, 0, 60]))
    def send(self, row: int, delay_s: int) -> None:
        self.model.sent(self.small.send(do(row), delay_s=delay_s), row)

    @rule(seconds=st.sampled_from([5, 30, 91, 200]))
    def let_time_pass(self, seconds: int) -> None:
        move_clock(self.small.conn, seconds)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Operators hold the queue back; what somebody has in hand is brought to its end."""
        verb = "begin_pause('small_jobs', 'ada', 'let me look')" if paused else "end_pause('small_jobs')"
        self.small.all(f"select public.{verb}")
        self.model.is_paused = paused

    # What workers do.

    @precondition(lambda self: self.model.queued)
    @rule(who=WORKERS, limit=st.integers(1, 4))
    def claim(self, who: int, limit: int) -> None:
        messages, due_s = claims.claim(self.small.conn, QUEUE, limit, timedelta(seconds=90))
        assert not (self.model.is_paused and (messages or due_s is not None)), "nothing is taken of a paused queue"
        for message in messages:
            self.model.queued[message.token.msg_id] += 1
            assert self.model.owns(message.token)
        self.hands[who] += [Task.of(message) for message in messages]

    @precondition(lambda self: any(self.hands))
    @rule(who=WORKERS)
    def crash(self, who: int) -> None:
        running = self._running(run)
        running.leases.take([task.token for task in self.hands[who]], float("inf"))
        begin(running, self.small.conn, self.hands[who])
        self.hands[who].clear()

    @precondition(lambda self: any(self.hands))
    @rule(who=WORKERS)
    def claim_what_the_other_still_holds(self, who: int) -> None:
        move_clock(self.small.conn, 91)
        self.claim(who, 4)

    @precondition(lambda self: any(self.hands))
    @rule(who=WORKERS)
    def extend(self, who: int) -> None:
        tokens = [task.token for task in self.hands[who]]

        kept = kernel.extend(self.small.conn, QUEUE, tokens, timedelta(seconds=90))

        assert kept == {token for token in tokens if self.model.owns(token)}

    def someone_has_work(self) -> bool:
        return any(self.hands)

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def succeed(self, pick: int) -> None:
        task = self._answered(self._take(pick), run)
        if task is not None:
            self.model.leave(task.token.msg_id, self.model.settled)
            self.model.end_row(task.token.msg_id, "running")

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def break_down(self, pick: int) -> None:
        task = self._answered(self._take(pick), break_down)
        if task is not None and task.attempts + 1 >= LIMIT:
            self.model.die(task.token.msg_id)

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def wait(self, pick: int) -> None:
        task = self._answered(self._take(pick), wait)
        if task is not None:
            self.model.leave(task.token.msg_id, self.model.settled)
            fresh = self.small.one("select max(msg_id) from pgmq.q_small_jobs")
            self.model.sent(fresh, self.model.about[task.token.msg_id])

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def finish(self, pick: int) -> None:
        task = self._answered(self._take(pick), finish)
        if task is not None:
            self.model.leave(task.token.msg_id, self.model.settled)
            self.model.finished += 1

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def reject(self, pick: int) -> None:
        """Its sender's mistake is no failure of the row."""
        task = self._answered(self._take(pick), reject)
        if task is not None:
            self.model.leave(task.token.msg_id, self.model.dead)

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def put_off(self, pick: int) -> None:
        task = self._answered(self._take(pick), put_off)
        if task is not None:
            assert 0 < self.small.due_s(task.token.msg_id) <= 30

    @precondition(someone_has_work)
    @rule(pick=PICKS)
    def give_back(self, pick: int) -> None:
        task = self._take(pick)
        before = self._everything()

        settled = write(self._running(run), [release(task, timedelta(0), "")])

        assert bool(settled.done) == self.model.owns(task.token)
        assert settled.done or self._everything() == before

    @precondition(lambda self: self._stale())
    @rule(pick=PICKS, step=st.sampled_from([run, break_down, wait, finish, reject, put_off]))
    def answer_after_the_lease_was_lost(self, pick: int, step: Callable[..., Outcome]) -> None:
        stale = self._stale()
        task = stale[pick % len(stale)]
        for hand in self.hands:
            hand[:] = [held for held in hand if held is not task]

        assert self._answered(task, step) is None

    def _stale(self) -> list[Task]:
        """What somebody still believes to hold, and somebody else holds."""
        held = (task for hand in self.hands for task in hand)
        return [d for d in held if d.token.msg_id in self.model.queued and not self.model.owns(d.token)]

    def _answered(self, task: Task, step: Callable[..., Outcome]) -> Task | None:
        """Work on a task; it, if it was still to be answered and was not found deadly before its step."""
        before = self._everything()
        running = self._running(step)
        running.leases.take([task.token], float("inf"))

        work(running, [task])

        if not self.model.owns(task.token):
            assert self._everything() == before, "a stale owner changes nothing"
            return None
        if task.deaths >= LIMIT:
            self.model.die(task.token.msg_id)
            return None
        return task

    def _take(self, pick: int) -> Task:
        hand = self.hands[pick % 2] or self.hands[1 - pick % 2]
        return hand.pop(pick % len(hand))

    def _running(self, step: Callable[..., Outcome]) -> Running:
        return replace(self.small.worker.running, kind=small_kind(step=step, fail=fail), leases=Leases(90))

    # What another client of PGMQ does.

    @precondition(lambda self: self.model.queued)
    @rule()
    def read_by_another_client(self) -> None:
        for msg_id in self.small.all("select msg_id from pgmq.read('small_jobs', 30, 1)"):
            self.model.queued[msg_id] += 1

    @precondition(lambda self: self.model.queued)
    @rule(pick=PICKS, verb=st.sampled_from(["delete", "archive"]))
    def take_away_by_another_client(self, pick: int, verb: str) -> None:
        msg_id = self._queued(pick)
        assert self.small.one(f"select pgmq.{verb}('small_jobs', %s::bigint)", (msg_id,))
        self.model.leave(msg_id, self.model.deleted)

    @precondition(lambda self: self.model.queued)
    @rule(pick=PICKS, seconds=st.sampled_from([0, 60]))
    def delay_by_another_client(self, pick: int, seconds: int) -> None:
        self.small.all("select pgmq.set_vt('small_jobs', %s::bigint, %s)", (self._queued(pick), seconds))

    def _queued(self, pick: int) -> int:
        return sorted(self.model.queued)[pick % len(self.model.queued)]

    # What holds at every moment.

    @invariant()
    def every_message_is_in_one_place(self) -> None:
        queued = dict(self.small.all("select msg_id, read_ct from pgmq.q_small_jobs"))
        assert queued == self.model.queued
        assert sorted(self.small.all("select msg_id from public.dead_letters")) == sorted(self.model.dead)
        places = [set(queued), self.model.settled, self.model.dead, self.model.deleted]
        assert set().union(*places) == set(self.model.about)
        assert sum(map(len, places)) == len(self.model.about)

    @invariant()
    def each_row_has_moved_once_at_most_and_told_of_it(self) -> None:
        rows = dict(self.small.all("select job_id, status from public.small_jobs"))
        assert rows == self.model.rows
        told = sorted(self.small.all("select (message->>'told')::integer from pgmq.q_small_events"))
        moved = [row for row, status in rows.items() if status == "running"]
        assert told == sorted([0] * self.model.finished + moved), "a follow-up is there if its move or its end is"

    @invariant()
    def histories_are_gap_free(self) -> None:
        assert self.small.all(BROKEN_HISTORIES) == []

    def _everything(self) -> Any:
        tables = ["pgmq.q_small_jobs", "pgmq.q_small_events", "public.dead_letters", "public.small_jobs"]
        return [self.small.all(f"select t.*, t.xmin::text from {table} t order by 1") for table in tables]

    def teardown(self) -> None:
        """Poison or not, in the end nothing is left: every message is settled or dead."""
        self.pause(paused=False)
        for _ in range(40):
            if not self.model.queued:
                return
            move_clock(self.small.conn, 91)
            self.hands[0].clear()
            self.claim(0, 100)
            while self.hands[0]:
                self.succeed(0)
        raise AssertionError("messages are left that nobody can settle")


def test_no_order_of_events_breaks_what_must_hold(small: Small) -> None:
    class Life(QueueLife):
        def __init__(self) -> None:
            super().__init__(small)

    run_state_machine_as_test(Life, settings=chosen(40))
