"""A setting with a typo is told, and what others put into the environment is left alone."""

import pytest

from pgfleet.schema.environment.misspelt import misspelt
from worlds.commands import Pgfleet


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("PGFLEET_LEAS_S", "PGFLEET_LEASE_S"),
        ("PGFLEET_LEASE", "PGFLEET_LEASE_S"),
        ("PGFLEET_KUBECONFG", "PGFLEET_KUBECONFIG"),
        ("PGFLEET_LOGLEVEL", "PGFLEET_LOG_LEVEL"),
        ("DATABASE_ULR", "DATABASE_URL"),
        ("DATABASE_DIRECT_URI", "DATABASE_DIRECT_URL"),
    ],
)
def test_a_typo_is_told_with_what_was_meant(given: str, meant: str) -> None:
    assert misspelt({given: "5"}) == {given: meant}


@pytest.mark.parametrize(
    "name",
    [
        *("PGFLEET_LEASE_S", "PGFLEET_USER", "DATABASE_URL", "DATABASE_PASSWORD", "DATABASE_HOST", "PGFLEET_PORT"),
        *("PGFLEET_SERVICE_HOST", "PGFLEET_SERVICE_PORT", "PGFLEET_PORT_8080_TCP", "PGFLEET_METRICS_SERVICE_PORT"),
        *("PGFLEET_PORT_8080_TCP_ADDR", "PGFLEET_WORKER_SERVICE_HOST", "PGFLEET_METRICS_PORT_9000_TCP"),
    ],
)
def test_what_is_no_typo_is_not_told(name: str) -> None:
    assert misspelt({name: "5"}) == {}


def test_a_command_tells_it_and_goes_on(pgfleet: Pgfleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFLEET_LEAS_S", "5")

    ended = pgfleet("ls", "--json")

    assert (ended.code, ended.json) == (0, [])
    assert "PGFLEET_LEAS_S is no setting; did you mean PGFLEET_LEASE_S?" in ended.err
