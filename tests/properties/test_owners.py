"""Owners that stand still, and wake up when others have what they had: never do two believe to own one message."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.kernel import Token
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.outcomes import LeaseLostError
from pgfleet.workers.runtime.task import Task
from worlds.fleet import move_clock, stop_clock
from worlds.small.chosen import chosen
from worlds.small.kind import QUEUE, do
from worlds.small.world import CLEAN, Small, moving

LEASE_S = 90
WHO = st.sampled_from([0, 1, 2])
# From what is asked until the server does it, and from there until its answer is noted, an owner may stand still.
WAITS = st.sampled_from([0, 1, 40, 100])


@dataclass
class Owner:
    """What one process believes, and what it has in hand."""

    leases: Leases = field(default_factory=lambda: Leases(LEASE_S))
    hand: dict[Token, Task] = field(default_factory=dict)


class Owners(RuleBasedStateMachine):
    """The model is which rows have moved: by the one owner of their message, and once."""

    def __init__(self, small: Small, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.small = small
        self.now_s = 1000.0
        self.owners = [Owner(), Owner(), Owner()]
        self.moved: set[int] = set()
        patch.setattr("time.monotonic", lambda: self.now_s)
        small.conn.execute(CLEAN)
        stop_clock(small.conn)
        for job_id in (1, 2, 3):
            small.job(job_id)
            small.send(do(job_id))

    def wait(self, seconds: float) -> None:
        """All clocks go on: those of processes, also while they stand still, and the server's."""
        self.now_s += seconds
        if seconds:
            move_clock(self.small.conn, seconds)

    @rule(seconds=st.sampled_from([1, 29, 61, 100]))
    def let_time_pass(self, seconds: int) -> None:
        self.wait(seconds)

    @rule(who=WHO, limit=st.integers(1, 3), asking_s=WAITS, answer_s=WAITS)
    def claim(self, who: int, limit: int, asking_s: int, answer_s: int) -> None:
        asked_at = self.now_s
        self.wait(asking_s)
        messages, _ = claims.claim(self.small.conn, QUEUE, limit, timedelta(seconds=LEASE_S))
        self.wait(answer_s)
        owner = self.owners[who]
        owner.leases.take([message.token for message in messages], asked_at)
        owner.hand |= {message.token: Task.of(message) for message in messages}

    @rule(who=WHO, asking_s=WAITS, answer_s=WAITS)
    def renew(self, who: int, asking_s: int, answer_s: int) -> None:
        leases = self.owners[who].leases
        tokens, asked_at = leases.tokens(), self.now_s
        self.wait(asking_s)
        kept = kernel.extend(self.small.conn, QUEUE, tokens, timedelta(seconds=LEASE_S)) if tokens else set()
        self.wait(answer_s)
        leases.renew(kept, asked_at)

    def somebody_has_work(self) -> bool:
        return any(owner.hand for owner in self.owners)

    @precondition(somebody_has_work)
    @rule(who=WHO, pick=st.integers(0, 2), stands_still_s=WAITS)
    def settle(self, who: int, pick: int, stands_still_s: int) -> None:
        """It may have stood still since its decision: what it writes counts only where the message is still its own."""
        owner = next(owner for owner in (*self.owners[who:], *self.owners) if owner.hand)
        token = sorted(owner.hand)[pick % len(owner.hand)]
        task = owner.hand.pop(token)
        (job_id,) = self.small.all(
            "select (message ->> 'job_id')::bigint from pgmq.q_small_jobs where msg_id = %s", (token.msg_id,)
        ) or [None]
        rows = [] if job_id is None else [self.small.row(job_id)]
        self.wait(stands_still_s)
        is_mine = self._read_ct(token) == token.read_ct

        settled = self.small.settle(moving(task, *rows))

        owner.leases.drop([token])
        assert bool(settled.done) == is_mine
        if is_mine:
            assert job_id not in self.moved, "an effect on a row is there once"
            self.moved.add(job_id)

    @invariant()
    def nobody_believes_to_have_what_another_has(self) -> None:
        for owner in self.owners:
            for token in owner.leases.tokens():
                if self._holds(owner, token):
                    assert self._read_ct(token) == token.read_ct, "who holds a lease is the owner"
                    assert self.small.due_s(token.msg_id) > 0, "nobody else can claim it"

    @invariant()
    def one_owner_holds_a_message(self) -> None:
        held = [token.msg_id for owner in self.owners for token in owner.leases.tokens() if self._holds(owner, token)]
        assert len(held) == len(set(held))

    @invariant()
    def rows_have_moved_as_often_as_their_messages_were_settled(self) -> None:
        rows = self.small.all("select job_id from public.small_jobs where status = 'running'")
        assert set(rows) == self.moved

    def _holds(self, owner: Owner, token: Token) -> bool:
        try:
            owner.leases.hold(token)
        except LeaseLostError:
            return False
        return True

    def _read_ct(self, token: Token) -> int | None:
        found = self.small.all("select read_ct from pgmq.q_small_jobs where msg_id = %s", (token.msg_id,))
        return found[0] if found else None


def test_no_two_owners_hold_one_message_however_long_they_stand_still(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Life(Owners):
        def __init__(self) -> None:
            super().__init__(small, monkeypatch)

    run_state_machine_as_test(Life, settings=chosen(25))
