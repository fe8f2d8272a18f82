import re

from pgfleet.schema.identity import keys
from worlds.web.site import Browser, Site


def shown(browser: Browser) -> str:
    """A key, made by the form."""
    answer = browser.press(browser.get("/keys"), "/do/create_key", hours="2", description="laptop")
    found = re.search(r"<code>([\w-]{80,})</code>", answer.text)
    assert found is not None, answer.text
    return found[1]


def test_a_key_is_made_shown_once_and_revoked(site: Site) -> None:
    ada = site.signed_in("ada")

    key = shown(ada)
    listed = ada.get("/keys")
    with site.api.with_key(key) as client:
        before = client.get("/v1/me").status_code
        number = keys.listing(site.api.conn, "ada")[0]["key_id"]
        revoked = ada.post("/do/revoke_key", {"path.key": str(number), "once": "x", "back": "/keys"})
        after = client.get("/v1/me").status_code

    assert key not in listed.text
    assert key[:8] in listed.text
    assert revoked.headers["location"] == "/keys"
    assert (before, after) == (200, 401)
    assert "revoked" in ada.get("/keys").text


def test_pressed_twice_one_key_is_made(site: Site) -> None:
    ada = site.signed_in("ada")
    page, before = ada.get("/keys"), len(keys.listing(site.api.conn, "ada"))

    for _ in range(2):
        ada.press(page, "/do/create_key", hours="2")

    assert len(keys.listing(site.api.conn, "ada")) == before + 1


def test_a_user_sees_and_makes_their_own_an_administrator_anybodys(site: Site) -> None:
    ada, boss = site.signed_in("ada"), site.signed_in("boss", "ADMIN")
    site.api.key_of("bob")
    of_bob = keys.make(site.api.conn, "bob", hours=1, description="bobs own")

    refused = [
        ada.post("/do/create_key", {"once": "x", "hours": "1", "username": "bob"}).status_code,
        ada.post("/do/revoke_key", {"once": "x", "path.key": str(of_bob.key_id)}).status_code,
    ]

    assert all(status in {403, 404} for status in refused)
    assert "bobs own" not in ada.get("/keys").text
    assert ada.get("/keys?username=bob").status_code == 403 or "bobs own" not in ada.get("/keys?username=bob").text
    assert "bobs own" in boss.get("/keys?username=bob").text
