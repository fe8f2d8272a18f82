"""A provider that others wrote (`oidc-provider-mock`), as a program of its own: sign in, change, rotate."""

from typing import Any

import pytest

from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.producers.http.who.not_proven import NotProvenError
from pgfleet.producers.http.who.oidc import Oidc
from worlds.network.ports import free_port
from worlds.network.provider import SUBJECT, Provider, provider

ADA = {"email": "ada@example.org", "email_verified": True, "nickname": "ada"}


def reader(provider: Provider, clock: Any) -> Oidc:
    settings = read_serve_settings(
        oidc_issuers=provider.url,
        oidc_audience="fleet",
        oidc_role_claim="realm_access.roles",
        oidc_link_issuer=provider.url,
    )
    return Oidc(settings, clock=clock)


def test_whoever_signs_in_is_who_the_provider_says(clock: Any) -> None:
    with provider(free_port()) as ours:
        ours.knows(**ADA, realm_access={"roles": ["DevOps"]})
        oidc = reader(ours, clock)

        claims = oidc.verify(ours.token())
        with pytest.raises(NotProvenError, match="somebody else"):
            oidc.verify(ours.token(client="another"))

    assert (claims.issuer, claims.subject, claims.username) == (ours.url, SUBJECT, "ada")
    assert (claims.role, oidc.email_to_link(claims)) == ("DEVOPS", "ada@example.org")


def test_a_role_that_is_taken_away_is_gone_with_the_next_token(clock: Any) -> None:
    with provider(free_port()) as ours:
        oidc = reader(ours, clock)
        ours.knows(**ADA, realm_access={"roles": ["admin"]})
        before = oidc.verify(ours.token()).role
        ours.knows(**ADA)

        after = oidc.verify(ours.token()).role

    assert (before, after) == ("ADMIN", "USER")


def test_a_provider_that_has_new_keys_is_believed_and_the_old_ones_are_not(clock: Any) -> None:
    port = free_port()
    with provider(port) as before:
        oidc = reader(before, clock)
        old = before.token()
        oidc.verify(old)
    clock.now += 60

    with provider(port) as after:
        claims = oidc.verify(after.token())
        with pytest.raises(NotProvenError, match="signature"):
            oidc.verify(old)

    assert claims.subject == SUBJECT
