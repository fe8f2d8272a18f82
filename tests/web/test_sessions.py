from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.identity.passwords import hash_of
from worlds.fleet import move_clock, stop_clock
from worlds.web.site import Browser, Site

PASSWORD = "correct horse battery staple"  # noqa: S105  # of this test alone


def is_in(browser: Browser) -> bool:
    return browser.get("/").status_code == 200


def test_whoever_is_nobody_is_sent_to_sign_in_and_comes_back(site: Site) -> None:
    browser = site.browser()

    sent = browser.get("/reservations?status=active")
    page = browser.get(sent.headers["location"])
    back = browser.press(page, "/sign-in", key=site.api.key_of("ada"))

    assert sent.status_code == 303
    assert back.headers["location"] == "/reservations?status=active"
    assert browser.get(back.headers["location"]).status_code == 200


def test_a_wrong_key_lets_nobody_in_and_says_so(site: Site) -> None:
    browser = site.browser()

    answer = browser.sign_in("x" * 60)

    assert answer.status_code == 401
    assert "not known" in answer.text
    assert not is_in(browser)


def test_a_local_account_signs_in_with_its_password_and_wrong_ones_slow_it_down(site: Site) -> None:
    accounts.add(site.api.conn, "ada@example.org", username="ada", password_hash=hash_of(PASSWORD))
    stop_clock(site.api.conn)
    browser = site.browser()

    wrong = [browser.post("/sign-in", {"email": "ada@example.org", "password": "no"}).status_code for _ in range(5)]
    move_clock(site.api.conn, 3600)
    right = browser.post("/sign-in", {"email": "ada@example.org", "password": PASSWORD})

    assert wrong[:3] == [401, 401, 401]
    assert wrong[-1] == 429
    assert right.status_code == 303
    assert is_in(browser)


def test_signing_out_ends_the_session_on_the_server_too(site: Site) -> None:
    browser, other = site.signed_in(), site.signed_in()
    stolen = dict(browser.http.cookies)

    browser.post("/sign-out")
    thief = site.browser()
    thief.http.cookies.update(stolen)

    assert not is_in(browser)
    assert not is_in(thief)
    assert is_in(other)


def test_a_session_ends_with_the_key_it_was_begun_with(site: Site) -> None:
    browser, other = site.signed_in("ada"), site.signed_in("bob")
    made = next(row for row in keys.listing(site.api.conn, "ada") if row["description"] is None)

    keys.revoke(site.api.conn, str(made["key_id"]))

    assert not is_in(browser)
    assert is_in(other)


def test_a_session_lasts_no_longer_than_its_key_nor_than_the_setting(site: Site) -> None:
    site.signed_in("ada")

    ends = [row["expires_at"] for row in keys.listing(site.api.conn, "ada")]

    assert len(ends) == 2
    assert ends[0] <= ends[1]


def test_whoever_is_let_in_no_more_is_out_with_the_next_page(site: Site) -> None:
    browser = site.signed_in("ada")

    accounts.set_active(site.api.conn, "ada@example.org", active=False)

    assert not is_in(browser)


def test_coming_and_going_are_in_the_audit(site: Site) -> None:
    browser = site.signed_in("ada")
    browser.post("/sign-out")

    told = [row for row in site.api.audited("action", "description", "status") if row[0].startswith("SIGNED")]

    assert told == [("SIGNED_IN", "with a key", "SUCCESS"), ("SIGNED_OUT", None, "SUCCESS")]
