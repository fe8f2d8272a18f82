"""Which workers `pgfleet up` and `pgfleet demo` start: one of every kind that is found."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pgfleet.console.local import children
from pgfleet.console.local.children import Children

SETTINGS = {"PGFLEET_KUBECONFIG": "sandbox"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Kind and number of each worker that would be started; there is a kind that only this test knows."""
    found: list[tuple[str, int]] = []

    def start(_: Children, kind: str, settings: Mapping[str, str], number: int) -> None:
        assert settings == SETTINGS
        found.append((kind, number))

    monkeypatch.setattr(children, "kinds", lambda: ["disk", "lease", "reservation"])
    monkeypatch.setattr(Children, "worker", start)
    return found


def test_every_kind_that_is_found_has_a_worker(started: list[tuple[str, int]], tmp_path: Path) -> None:
    Children(tmp_path, {}).all_workers(SETTINGS, reservation=2)

    assert started == [("disk", 1), ("lease", 1), ("reservation", 1), ("reservation", 2)]


def test_a_kind_that_can_not_work_here_has_none(started: list[tuple[str, int]], tmp_path: Path) -> None:
    Children(tmp_path, {}).all_workers(SETTINGS, reservation=1, without=("disk",))

    assert started == [("lease", 1), ("reservation", 1)]
