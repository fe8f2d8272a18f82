import pytest

from worlds.web.site import Browser, Site

WISH = {"gpu_type": "h100", "gpu_count": "2", "duration_hours": "1.5", "name": "training", "jupyter_enabled": "on"}


def reserved(site: Site, browser: Browser) -> str:
    answer = browser.press(browser.get("/reserve"), "/do/create_reservation", **WISH)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def count(site: Site, query: str) -> int:
    row = site.api.conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_what_is_asked_for_in_the_form_is_a_reservation_of_who_asks(site: Site) -> None:
    browser = site.signed_in("ada")

    row_id = reserved(site, browser)
    page = browser.get(f"/reservations/{row_id}")

    query = "select user_id, status, gpu_count, duration_hours, name, jupyter_enabled from public.reservations"
    assert site.api.conn.execute(query.encode()).fetchall() == [("ada", "pending", 2, 1.5, "training", True)]
    assert page.status_code == 200
    assert "Asked for: this page shows what becomes of it." in page.text
    assert "Asked for: this page" not in browser.get(f"/reservations/{row_id}").text


def test_a_button_pressed_twice_asks_once(site: Site) -> None:
    browser = site.signed_in("ada")
    form = browser.get("/reserve")
    first, second = (browser.press(form, "/do/create_reservation", **WISH) for _ in range(2))
    one = browser.get(first.headers["location"])
    cancelled = [browser.press(one, "/do/add_user", github_username="bob") for _ in range(2)]

    assert first.headers["location"] == second.headers["location"]
    assert count(site, "select count(*) from public.reservations") == 1
    assert [answer.status_code for answer in cancelled] == [303, 303]
    assert count(site, "select count(*) from pgmq.q_gpu_reservations where message ->> 'action' = 'add_user'") == 1


def test_a_reason_is_in_the_audit_with_who_gave_it(site: Site) -> None:
    ada, ops = site.signed_in("ada"), site.signed_in("ops", "DEVOPS")
    row_id = reserved(site, ada)

    ops.press(ops.get(f"/reservations/{row_id}"), "/do/cancel_reservation", reason="the node is needed")

    told = [row for row in site.api.audited("action", "user_role", "description") if row[0].endswith("CANCELLED")]
    assert told == [("RESERVATION_CANCELLED", "DEVOPS", "the node is needed")]


def test_what_cannot_be_undone_says_so_first(site: Site) -> None:
    browser = site.signed_in("ada")

    page = browser.get(f"/reservations/{reserved(site, browser)}").text

    assert page.index("loses its place in the line") < page.index(">Cancel</button>")


def test_of_another_there_is_neither_page_nor_button_nor_deed(site: Site) -> None:
    ada, bob = site.signed_in("ada"), site.signed_in("bob")
    row_id = reserved(site, ada)

    page = bob.get(f"/reservations/{row_id}")
    done = bob.post("/do/cancel_reservation", {"path.id": row_id, "once": "x"})

    assert (page.status_code, done.status_code) == (404, 404)
    assert "training" not in bob.get("/reservations").text
    assert "training" not in bob.get("/").text
    assert count(site, "select count(*) from pgmq.q_gpu_reservations where message ->> 'action' = 'cancel'") == 0


@pytest.mark.parametrize("operation", ["begin_pause", "create_node", "add_account", "create_key"])
def test_what_a_role_may_not_the_server_refuses_whoever_makes_the_form(site: Site, operation: str) -> None:
    answer = site.signed_in("ada").post(f"/do/{operation}", {"path.what": "disk", "username": "bob", "hours": "1"})

    assert answer.status_code in {400, 403, 404}
    assert count(site, "select count(*) from autoscaler.nodes") == 0
    assert count(site, "select count(*) from public.api_users where username = 'bob'") == 0


def test_a_form_without_what_it_is_about_is_refused(site: Site) -> None:
    answer = site.signed_in("ada").post("/do/cancel_reservation", {"once": "x"})

    assert (answer.status_code, "path.id" in answer.text) == (400, True)


def test_what_is_wrong_in_a_form_is_told_and_what_was_typed_is_not_lost(site: Site) -> None:
    browser = site.signed_in("ada")

    refused = browser.press(browser.get("/reserve"), "/do/create_reservation", **{**WISH, "duration_hours": "a while"})

    assert refused.status_code == 400
    assert "duration_hours" in refused.text
    assert 'href="/reserve?' in refused.text
    assert "gpu_type=h100" in refused.text
    assert 'value="training"' in browser.get("/reserve?gpu_type=h100&name=training").text


def test_the_dry_run_says_whether_it_would_start(site: Site) -> None:
    browser = site.signed_in("ada")
    site.api.conn.execute("update public.gpu_types set total_cluster_gpus = 8 where gpu_type = 'h100'")

    now = browser.get("/reserve/ahead?gpu_type=h100&gpu_count=8&duration_hours=1")
    never = browser.get("/reserve/ahead?gpu_type=h100&gpu_count=3&duration_hours=1")

    assert "Would start now" in now.text
    assert "gpu_count" in never.text
    assert "<html" not in now.text
    assert count(site, "select count(*) from public.reservations") == 0


def test_a_key_is_shown_once_on_a_page_of_its_own(site: Site) -> None:
    answer = site.signed_in("ada").post("/do/create_key", {"hours": "1", "once": "x", "back": "/"})

    assert answer.status_code == 200
    assert "Shown this once" in answer.text


def test_what_is_deleted_twice_is_done_already(site: Site) -> None:
    """Also where somebody else was quicker: the page is not about a mistake."""
    browser = site.signed_in("ada")
    browser.post("/do/create_key", {"hours": "1", "description": "laptop", "once": "x", "back": "/keys"})
    page = browser.get("/keys")

    first, second = (browser.press(page, "/do/revoke_key") for _ in range(2))

    assert first.status_code == 303
    assert second.status_code == 404
    assert "This is done already" in second.text
    assert 'href="/keys">Back' in second.text
