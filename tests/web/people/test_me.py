import pytest

from pgfleet.schema.identity import keys
from pgfleet.schema.policy.book import Whose, put
from worlds import rows_of_disks as rows
from worlds.web.site import Site


@pytest.mark.parametrize("role", ["USER", "DEVOPS", "ADMIN"])
def test_one_sees_who_one_is_and_how_that_was_proven(site: Site, role: str) -> None:
    page = site.signed_in("ada", role).get("/me").text

    assert f"<strong>{role}</strong>" in page
    assert "an API key" in page
    assert "ada@example.org" in page
    assert 'href="/me"' in page


def test_limits_are_shown_with_what_is_used_of_them(site: Site) -> None:
    put(site.api.conn, Whose("gpus", "user", "ada", "h100"), 8, None, "ops")
    rows.reservation(site.api.conn, "active", None, user_id="ada")

    page = site.signed_in("ada").get("/me").text

    assert 'title="2 of 8"' in page


def test_the_keys_are_ones_own_and_nobody_elses(site: Site) -> None:
    site.api.key_of("bob")
    keys.make(site.api.conn, "bob", hours=1, description="bobs own")

    page = site.signed_in("boss", "ADMIN").get("/me").text

    assert "bobs own" not in page
    assert "a session of this site" in page
