"""The contents of a home are listed, whatever is in it and however its pod behaves."""

from __future__ import annotations

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.workers.clients.kubernetes.home import LONGEST_CONTENTS_BYTES, Homes, listing, size_of
from pgfleet.workers.runtime.outcomes import TryAgainError
from worlds.outside import homes as world
from worlds.outside.homes import NS

if TYPE_CHECKING:
    from pathlib import Path

    from pgfleet.console.sandbox import Box
    from pgfleet.workers.clients.kubernetes.pods import Pods

pods, homes, running = world.pods, world.homes, world.running


def test_the_contents_of_a_home_are_listed(homes: Homes, box: Box, running: str) -> None:
    box.contents(NS, running, "730M\t/home/dev\n/home/dev\n└── naïve.txt\n")

    contents = homes.contents(running)

    assert contents == "730M\t/home/dev\n/home/dev\n└── naïve.txt\n"
    assert size_of(contents) == "730M"


def test_whatever_is_in_names_the_listing_is_text(homes: Homes, box: Box, running: str) -> None:
    box.contents(NS, running, b"4.0K\t/home/dev\n\xff\xfe\x00\x1b[2J\x9b\xc2\x9b\r\n\xe2\x94\x94\xc2\xa0ok\n")

    contents = homes.contents(running)

    assert contents.isprintable() is False
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", contents)
    assert contents.splitlines()[-1] == "└\N{NO-BREAK SPACE}ok"


@pytest.mark.parametrize("letter", ["\u202e", "\u2066", "\u200f", "\u2028", "\ue000", "\ufeff"])
def test_no_name_turns_what_is_shown_around_it(homes: Homes, box: Box, running: str, letter: str) -> None:
    box.contents(NS, running, f"4.0K\t/home/dev\n/home/dev/a{letter}b\n".encode())

    assert homes.contents(running).splitlines()[-1] == "/home/dev/a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("unit", [b"x", b"\xff", "é".encode()])
def test_a_listing_without_an_end_is_cut(homes: Homes, box: Box, running: str, unit: bytes) -> None:
    box.contents(NS, running, b"9.9T\t/home/dev\n" + unit * 300_000)

    contents = homes.contents(running)

    assert LONGEST_CONTENTS_BYTES - 4 <= len(contents.encode()) <= LONGEST_CONTENTS_BYTES
    assert size_of(contents) == "9.9T"


@pytest.mark.parametrize("hang", ["before the answer", "in the middle"])
def test_a_pod_that_hangs_is_left_in_time(homes: Homes, box: Box, running: str, hang: str) -> None:
    impatient = replace(homes, contents_timeout_s=0.3)
    if hang == "in the middle":
        box.contents(NS, running, "1G\t/home/dev\n", delay_s=300)
    else:
        box.fault("/exec$", delay_s=300)
    began = time.monotonic()

    with pytest.raises(TryAgainError):
        impatient.contents(running)

    assert time.monotonic() - began < 60


def test_a_pod_that_is_gone_can_not_be_asked_now(homes: Homes) -> None:
    with pytest.raises(TryAgainError, match="404"):
        homes.contents("gone")


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 403}, {"status": 302}, {"drop": True}])
def test_a_fault_of_the_server_is_one_to_try_again(homes: Homes, box: Box, running: str, fault: dict[str, Any]) -> None:
    box.fault("/exec$", **fault)

    with pytest.raises(TryAgainError):
        homes.contents(running)

    assert homes.contents(running)


def test_a_command_that_fails_without_a_word_is_one_to_try_again(homes: Homes, box: Box, running: str) -> None:
    box.contents(NS, running, "", failure="no such file: /bin/sh")

    with pytest.raises(TryAgainError, match="no such file: /bin/sh"):
        homes.contents(running)


def test_what_a_command_wrote_before_it_failed_is_kept(homes: Homes, box: Box, running: str) -> None:
    box.contents(NS, running, "1G\t/home/dev\n", failure="exit code 137")

    assert homes.contents(running) == "1G\t/home/dev\n"


def test_listing_does_not_disturb_what_other_threads_ask(homes: Homes, box: Box, pods: Pods, running: str) -> None:
    box.contents(NS, running, "1G\t/home/dev\n", delay_s=0.2)

    with ThreadPoolExecutor(4) as threads:
        listings = [threads.submit(homes.contents, running) for _ in range(4)]
        while not all(listing.done() for listing in listings):
            assert pods.find(running)

    assert {listing.result() for listing in listings} == {"1G\t/home/dev\n"}


@pytest.mark.parametrize(
    ("contents", "size"),
    [
        ("1.2G\t/home/dev\n/home/dev\n", "1.2G"),
        ("0\t/home/dev\n", "0"),
        ("1,5M\t/home/dev", "1,5M"),
        ("/home/dev\n`-- a\n", None),
        ("", None),
        ("12345678901G\t/home/dev\n", None),
    ],
)
def test_the_size_of_a_home_is_what_du_says(contents: str, size: str | None) -> None:
    assert size_of(contents) == size


def test_the_command_lists_a_folder_with_what_every_image_has(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c" / "too deep").mkdir(parents=True)
    (tmp_path / "large").write_bytes(b"x" * 300_000)
    command = listing(30).replace("/home/dev", str(tmp_path))

    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)

    told = ended.stdout.replace(str(tmp_path), "/home/dev")
    assert size_of(told) == told.partition("\t")[0]
    assert "large" in told
    assert "c" in told.split("b", 1)[1]
    assert "too deep" not in told
    assert ended.stderr == ""


def test_the_command_ends_what_takes_too_long_and_writes_no_more_than_is_read(tmp_path: Path) -> None:
    endless = tmp_path / "du"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o755)

    ended = subprocess.run(
        ["/bin/sh", "-c", listing(1)],
        capture_output=True,
        timeout=30,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )

    assert len(ended.stdout) == LONGEST_CONTENTS_BYTES
