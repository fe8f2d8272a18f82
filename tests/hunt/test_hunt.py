"""A few seconds of the search by seed, and that it finds, shrinks and tells what is wrong."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hunt.acts import plan
from hunt.invariants import always
from hunt.known import Step
from hunt.playing import play
from hunt.shrinking import shrunk
from hunt.story import story
from hunt.world import SANDBOX, World, in_thread
from pgfleet.console import sandbox

SEED, STEPS = 8, 25


@pytest.fixture
def world(dsn: str) -> Iterator[World]:
    with sandbox.running(**SANDBOX) as box, in_thread(dsn, box, SEED) as running:
        yield running


def test_all_that_must_hold_holds_whatever_a_seed_does(world: World) -> None:
    # Waiting is all that a pause is for here.
    steps = [replace(step, pause_s=0) for step in plan(SEED, STEPS, has_processes=False)]

    play(world, steps)

    world.conn.execute("update public.gpu_types set held_gpus = 1 where gpu_type = 't4'")
    assert any("GPU" in found or "held_gpus" in found for found in always(world))


def test_a_seed_makes_the_same_steps_each_time() -> None:
    assert plan(3, 50, has_processes=True) == plan(3, 50, has_processes=True)
    assert plan(3, 50, has_processes=True) != plan(4, 50, has_processes=True)


def test_what_fails_is_shrunk_to_the_steps_that_it_needs() -> None:
    steps = [Step("pass", {"seconds": number}, 0) for number in range(40)]

    few = shrunk(steps, lambda fewer: {3, 31} <= {step.given["seconds"] for step in fewer}, within_s=10)

    assert [step.given["seconds"] for step in few] == [3, 31]


def test_every_step_is_told_in_a_sentence() -> None:
    told = list(story(plan(5, 200, has_processes=True)))

    assert len(told) > 200
    assert all(line.endswith((".", ").")) for line in told)
