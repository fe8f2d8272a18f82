import re

from pgfleet.producers.event import subscribe
from worlds.web.site import Browser, Site

NEW = {"url": "https://example.org/hook/very-secret", "format": "slack", "row_id": "", "of_user": ""}
# As boxes of one name come.
BOXES = {"machines": "reservation disk", "states": "failed"}


def asked(site: Site) -> list[tuple[str, str]]:
    """What was asked about subscriptions that there are: action and user."""
    query = (
        "select message ->> 'action', message ->> 'user_id' from pgmq.q_event_deliveries"
        " where message ->> 'action' in ('test', 'unsubscribe', 'resume', 'send_again') order by msg_id"
    )
    return site.api.conn.execute(query).fetchall()


def one(site: Site, user: str, status: str = "active") -> str:
    made = subscribe(user, "https://example.org/hook/very-secret", site.api.conn).subscription_id
    for state in ("active", *(["off"] if status == "off" else [])):
        moved = "update public.event_subscriptions set status = %s where subscription_id = %s"
        site.api.conn.execute(moved, (state, made))
    return made


def press(browser: Browser, row_id: str, operation: str, **fields: str) -> int:
    return browser.press(browser.get(f"/subscriptions/{row_id}"), f"/do/{operation}", **fields).status_code


def test_the_secret_is_shown_once_and_the_address_never(site: Site) -> None:
    """Pressed twice there is one of them."""
    ada = site.signed_in("ada")
    page = ada.get("/subscriptions")

    made = ada.press(page, "/do/create_subscription", **NEW, **BOXES)
    ada.press(page, "/do/create_subscription", **NEW, **BOXES)
    listed = ada.get("/subscriptions").text

    secret = re.search(r"whsec_[\w+/=-]+", made.text)
    kept = site.api.conn.execute("select machines, states, format, user_id from public.event_subscriptions").fetchall()
    assert secret is not None, made.text
    assert kept == [(["reservation", "disk"], ["failed"], "slack", "ada")]
    assert secret[0] not in listed
    assert "very-secret" not in listed
    assert "reservation, disk becoming failed" in listed


def test_one_is_tested_ended_and_resumed(site: Site) -> None:
    ada = site.signed_in("ada")
    live, off = one(site, "ada"), one(site, "ada", "off")

    statuses = [
        press(ada, live, "send_test_event"),
        press(ada, live, "end_subscription"),
        press(ada, off, "resume_subscription"),
    ]

    assert statuses == [303] * 3
    assert asked(site) == [("test", "ada"), ("unsubscribe", "ada"), ("resume", "ada")]


def test_deliveries_say_what_was_answered_and_may_be_sent_again(site: Site) -> None:
    ada, row_id = site.signed_in("ada"), one(site, "ada")
    site.api.conn.execute(
        "insert into public.event_deliveries (subscription_id, place, number, user_id, events, result, tries, answer,"
        " begun_at, ended_at, after_position, to_position)"
        " values (%s, 1, 1, 'ada', 3, 'given up', 9, '<b>500</b> Internal', now(), now(), '1.5.5', '1.9.9')",
        (row_id,),
    )

    page = ada.get(f"/subscriptions/{row_id}")
    statuses = [ada.press(page, "/do/send_events_again").status_code for _ in range(2)]

    assert "given up" in page.text
    assert "<b>500</b>" not in page.text
    assert page.text.index("are sent once more") < page.text.index(">Send again</button>")
    assert statuses == [303, 303]
    assert asked(site) == [("send_again", "ada")]


def test_of_another_there_is_nothing_and_an_operator_sees_all(site: Site) -> None:
    bob, ops, row_id = site.signed_in("bob"), site.signed_in("ops", "DEVOPS"), one(site, "ada")

    done = bob.post("/do/end_subscription", {"path.id": row_id, "once": "x"})

    assert (bob.get(f"/subscriptions/{row_id}").status_code, done.status_code) == (404, 404)
    assert "There are none yet" in bob.get("/subscriptions").text
    assert row_id in ops.get("/subscriptions").text
    assert asked(site) == []
