"""The protocol of leases and that of epochs, checked by spin in every order; and mistakes that it has to find."""

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# A worker that crashes and an owner that wakes up too late are in all of them; the third mishap is each one's own.
LEASES = [
    "",
    "-DONE_ROW",
    "-DSECOND=BROKEN -DBREAKS=1",
    "-DSECOND=POISON -DRELEASES=1",
    "-DONE_ROW -DSTRANGERS=1",
    "-DPLAIN -DSECOND=POISON",
    "-DWAKE -DCRASHES=0 -DPAUSES=0",
    # With notifications that are not lost, no message waits for the poll: a worker forgets them before it claims.
    "-DWAKE -DSURE -DNO_POLL -DCRASHES=0 -DPAUSES=0",
]
MISTAKES = {
    "a token that is not compared": "-DNO_FENCE",
    "a row that is not compared": "-DNO_ROW_GUARD -DONE_ROW",
    "a follow-up outside of the transaction": "-DFOLLOW_UP_APART",
    "a lost claim that is not found by its mark": "-DNO_MARK -DBREAKS=1",
    "what was not answered, among others": "-DNOT_ALONE -DSECOND=POISON",
    "a step that begins though its message was given back": "-DBEGIN_UNASKED -DRELEASES=1",
    "a renewal that hides what was put back meanwhile": "-DRENEWS_LATE -DRELEASES=1",
    "no safety poll": "-DNO_POLL -DWAKE -DCRASHES=0 -DPAUSES=0",
    "notifications that are forgotten after the claim": (
        "-DCLEARS_LATE -DWAKE -DSURE -DNO_POLL -DCRASHES=0 -DPAUSES=0"
    ),
}
EPOCH_MISTAKES = {
    "an epoch that is not compared": "-DNO_COMPARE",
    "an epoch that is compared in another transaction": "-DNO_LOCK",
    "a new leader under the epoch of the one before": "-DSAME_EPOCH",
}


def spin(folder: Path, model: str, variant: str, *, ends: bool = False) -> tuple[int, int]:
    """Check a model exhaustively; its errors and states. With `ends` it is asked whether it ends, else all else."""

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    run("gcc", "-E", "-P", "-w", "-x", "c", *variant.split(), str(HERE / model), "-o", "model.pml")
    run("spin", "-a", "model.pml")
    kind = ["-DNFAIR=3"] if ends else ["-DSAFETY", "-DNOCLAIM"]
    run("gcc", "-O0", "-w", "-DCOLLAPSE", "-DVECTORSZ=2048", *kind, "-o", "pan", "pan.c")
    said = run("./pan", "-m1000000", *(["-a", "-f"] if ends else []))
    assert "max search depth too small" not in said
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"([\d.e+]+) states, stored", said)
    assert errors, said
    assert states, said
    return int(errors[1]), int(float(states[1]))


@pytest.mark.parametrize("variant", LEASES)
def test_no_order_of_events_breaks_the_protocol_of_leases(tmp_path: Path, variant: str) -> None:
    errors, states = spin(tmp_path, "lease.pml", variant)

    assert errors == 0
    assert states > 100, "as many as were looked at: a model that stands still has no errors"


@pytest.mark.parametrize("variant", ["-DSECOND=POISON", "-DWAKE -DCRASHES=0 -DPAUSES=0"])
def test_every_message_ends_settled_or_dead(tmp_path: Path, variant: str) -> None:
    errors, _ = spin(tmp_path, "lease.pml", variant, ends=True)

    assert errors == 0


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_protocol_is_found(tmp_path: Path, mistake: str) -> None:
    errors, _ = spin(tmp_path, "lease.pml", MISTAKES[mistake])

    assert errors == 1


def test_an_old_epoch_writes_nothing_after_a_newer_one(tmp_path: Path) -> None:
    errors, states = spin(tmp_path, "epochs.pml", "")

    assert errors == 0
    assert states > 100


@pytest.mark.parametrize("mistake", EPOCH_MISTAKES)
def test_a_mistake_with_epochs_is_found(tmp_path: Path, mistake: str) -> None:
    errors, _ = spin(tmp_path, "epochs.pml", EPOCH_MISTAKES[mistake])

    assert errors == 1
