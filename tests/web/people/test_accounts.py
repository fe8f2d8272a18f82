import pytest

from pgfleet.schema.identity import accounts, keys
from worlds.web.site import Site

HOSTILE = "<script>alert(1)</script>"


def made(site: Site, name: str = "eve", **more: str) -> int:
    return accounts.add(site.api.conn, f"{name}@example.org", username=name, **more)


def role_of(site: Site, number: int) -> str:
    return str(accounts.listing(site.api.conn, str(number))[0]["role"])


def test_a_role_is_changed_after_a_sentence_on_what_it_means(site: Site) -> None:
    """Pressed twice it is changed once; the audit says who did it, and why."""
    number, boss = made(site), site.signed_in("boss", "ADMIN")
    page = boss.get(f"/users/{number}")

    answers = [
        boss.post(
            "/do/change_user",
            {"path.id": str(number), "once": "x", "back": "/users", "role": "DEVOPS", "reason": "on call"},
        )
        for _ in range(2)
    ]

    assert page.text.index("acts on every reservation") < page.text.index(">Make DEVOPS</button>")
    assert [answer.status_code for answer in answers] == [303, 303]
    assert role_of(site, number) == "DEVOPS"
    assert ("USER_UPDATED", "ADMIN", "on call") in site.api.audited("action", "user_role", "description")
    assert ">Make DEVOPS</button>" not in boss.get(f"/users/{number}").text


def test_whoever_is_let_in_no_more_is_out_at_once(site: Site) -> None:
    eve, boss = site.signed_in("eve"), site.signed_in("boss", "ADMIN")
    number = accounts.listing(site.api.conn, "eve@example.org")[0]["id"]

    boss.press(boss.get(f"/users/{number}"), "/do/change_user", role="", is_active="off")

    assert eve.get("/me").status_code == 303
    assert "Let in again" in boss.get(f"/users/{number}").text


def test_an_account_is_found_by_its_email_and_the_list_is_turned(site: Site) -> None:
    boss = site.signed_in("boss", "ADMIN")
    for number in range(3):
        made(site, f"person{number}")

    found, first = boss.get("/users?which=person1@example.org").text, boss.get("/users?limit=2").text

    assert "person1@example.org" in found
    assert "person2@example.org" not in found
    assert "There is no such account" in boss.get("/users?which=nobody@example.org").text
    assert 'rel="next"' in first


def test_names_of_others_are_text(site: Site) -> None:
    number = made(site, full_name=HOSTILE)

    page = site.signed_in("boss", "ADMIN").get(f"/users/{number}").text

    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_a_password_is_on_no_page(site: Site) -> None:
    """Neither on that of the account, nor in the address that leads back to a form that was refused."""
    boss = site.signed_in("boss", "ADMIN")
    wrong = {"email": "no-email", "password": "correct horse", "role": "USER", "asked_at": "/users", "back": "/users"}

    refused = boss.post("/do/create_user", {"once": "x", **wrong})

    assert refused.status_code == 400
    assert "horse" not in refused.text


@pytest.mark.parametrize("role", ["USER", "DEVOPS"])
def test_only_administrators_see_and_change_accounts(site: Site, role: str) -> None:
    number, somebody = made(site), site.signed_in("ada", role)

    done = somebody.post("/do/change_user", {"path.id": str(number), "once": "x", "role": "ADMIN"})

    assert [somebody.get(path).status_code for path in ("/users", f"/users/{number}")] == [403, 403]
    assert done.status_code == 403
    assert role_of(site, number) == "USER"
    assert "/users" not in somebody.get("/me").text


def test_the_keys_of_an_account_are_on_its_page(site: Site) -> None:
    number = made(site)
    key = keys.make(site.api.conn, "eve", hours=1, description="a laptop")

    page = site.signed_in("boss", "ADMIN").get(f"/users/{number}").text

    assert key.prefix in page
    assert "a laptop" in page
    assert key.key not in page
