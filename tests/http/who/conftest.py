"""An issuer of the test's own, and a reader of its tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.producers.http.who.oidc import Oidc
from worlds.network.issuer import AUDIENCE, NOW, OwnIssuer, own_issuer


@dataclass
class Clock:
    """The clock by which keys grow old."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


Reads = Callable[..., Oidc]


@pytest.fixture
def issuer() -> Iterator[OwnIssuer]:
    with own_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reads(clock: Clock) -> Reads:
    """Who believes these issuers, with settings of the test."""

    def made(*issuers: OwnIssuer, **given: Any) -> Oidc:
        trusted = ",".join(each.url for each in issuers)
        settings = read_serve_settings(**{"oidc_issuers": trusted, "oidc_audience": AUDIENCE, **given})
        return Oidc(settings, now=lambda: float(NOW), clock=clock)

    return made


@pytest.fixture
def oidc(reads: Reads, issuer: OwnIssuer) -> Oidc:
    return reads(issuer, oidc_role_claim="realm_access.roles")
