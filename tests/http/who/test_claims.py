"""What a token says about somebody: roles, names and addresses, and what is as good as not said."""

import time
from typing import Any

import pytest

from pgfleet.producers.http.settings import read_serve_settings
from pgfleet.producers.http.who.claims import Claims, Expected, read_claims
from pgfleet.producers.http.who.oidc import Oidc

ISSUER = "https://id.example.org"


def read(said: dict[str, Any], role_claim: str | None = "realm_access.roles") -> Claims:
    now = time.time()
    usual = {"iss": ISSUER, "sub": "ada", "aud": "fleet", "exp": now + 60}
    return read_claims(usual | said, Expected(ISSUER, ("fleet",), ("preferred_username", "nickname"), role_claim), now)


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["user"], "USER"),
        (["DevOps"], "DEVOPS"),
        (["user", "ADMIN", "devops"], "ADMIN"),
        ("admin", "ADMIN"),
        ([" admin "], "ADMIN"),
        (["administrator", "root", "superuser"], "USER"),
        (["SERVICE", "NODE"], "USER"),
        ([], "USER"),
        ([["admin"], {"admin": 1}, 7, None], "USER"),
        ({"admin": True}, "USER"),
        (True, "USER"),
        ("user admin", "USER"),
    ],
)
def test_the_highest_role_that_is_named_counts(roles: Any, role: str) -> None:
    assert read({"realm_access": {"roles": roles}}).role == role


@pytest.mark.parametrize("said", [{}, {"realm_access": None}, {"realm_access": ["roles"]}, {"realm_access": {}}])
def test_whoever_has_no_role_any_more_is_a_user(said: dict[str, Any]) -> None:
    assert read(said).role == "USER"


def test_a_claim_whose_name_has_dots_is_found() -> None:
    assert read({"https://x.example.org/roles": ["admin"]}, "https://x.example.org/roles").role == "ADMIN"


def test_without_a_setting_a_token_says_nothing_about_roles() -> None:
    assert read({"realm_access": {"roles": ["admin"]}}, role_claim=None).role is None


@pytest.mark.parametrize(
    ("said", "username"),
    [
        ({"preferred_username": "ada", "nickname": "al"}, "ada"),
        ({"nickname": "al"}, "al"),
        ({"preferred_username": "", "nickname": "al"}, "al"),
        ({"preferred_username": 7, "nickname": "al"}, "al"),
        ({"preferred_username": "a\0da", "nickname": "al"}, "al"),
        ({"preferred_username": "x" * 256}, None),
        ({}, None),
    ],
)
def test_the_first_name_that_can_be_used_is_the_users(said: dict[str, Any], username: str | None) -> None:
    assert read(said).username == username


@pytest.mark.parametrize(
    ("email", "read_as"),
    [
        ("ada@example.org", "ada@example.org"),
        (" ada@example.org ", "ada@example.org"),
        ("ada", None),
        ("@example.org", None),
        ("ada@", None),
        ("a@b@c", None),
        ("ada smith@example.org", None),
        ("ada@example.org\nbob@example.org", None),
        (["ada@example.org"], None),
        (None, None),
    ],
)
def test_an_address_is_one_or_none(email: Any, read_as: str | None) -> None:
    assert read({"email": email}).email == read_as


@pytest.mark.parametrize("verified", ["true", 1, "yes", [True], None, False])
def test_an_address_is_verified_where_that_is_true_and_not_something_like_it(verified: Any) -> None:
    assert not read({"email": "ada@example.org", "email_verified": verified}).email_verified


@pytest.mark.parametrize(
    ("link_issuer", "verified", "linked"),
    [
        (ISSUER, True, "ada@example.org"),
        (ISSUER, False, None),
        (None, True, None),
        ("https://b.example.org", True, None),
    ],
)
def test_an_account_is_linked_by_an_address_that_one_issuer_has_verified(
    link_issuer: str | None, verified: object, linked: str | None
) -> None:
    issuers = f"{ISSUER},https://b.example.org"
    settings = read_serve_settings(oidc_issuers=issuers, oidc_audience="fleet", oidc_link_issuer=link_issuer)

    claims = read({"email": "ada@example.org", "email_verified": verified})

    assert Oidc(settings).email_to_link(claims) == linked
