import re
from collections.abc import Callable

from playwright.sync_api import Locator, expect

from pgfleet.console.sandbox.box import Box
from worlds.fleet import PATIENCE_S
from worlds.web.site import Site
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)
MOST_TABS = 80


def reserve(window: Window, gpus: str) -> None:
    page = window.page
    window.to("/reserve")
    page.get_by_label("GPU type").select_option("h100")
    page.get_by_label("GPUs a node").select_option(gpus)
    expect(page.locator("#ahead")).to_contain_text("Would ")


def test_one_reserves_sees_it_become_active_without_a_reload_extends_it_and_ends_it(
    site: Site, box: Box, window: Window
) -> None:
    page = window.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    window.sign_in(site.api.key_of("ada"))
    reserve(window, "8")
    expect(page.locator("#ahead")).to_contain_text("Would start now")
    page.get_by_label("Name", exact=True).fill("training")
    page.get_by_label("Your name at GitHub").fill("ada")
    page.get_by_role("button", name="Reserve").click()

    page.evaluate("window.isTheSamePage = true")
    expect(page.locator("#part-state .state")).to_have_text(re.compile("active"))
    expect(page.locator("#ssh")).to_contain_text("ssh ")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#ssh").text_content()
    ends = page.locator("dt:text-is('Ends') + dd time")
    before = ends.get_attribute("datetime")
    assert page.evaluate("window.isTheSamePage") is True

    page.get_by_text("Extend …").click()
    page.get_by_label("By how many hours").fill("3")
    page.get_by_label("Reason").first.fill("one more epoch")
    page.get_by_role("button", name="Extend", exact=True).click()
    expect(ends).not_to_have_attribute("datetime", before or "")

    page.get_by_text("End …", exact=True).click()
    expect(page.get_by_text("can't be undone")).to_be_visible()
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.locator("#part-state .state")).to_have_text(re.compile("cancelled"))

    assert window.complaints == []
    done = site.api.audited("action", "description")
    assert ("RESERVATION_EXTENDED", "one more epoch") in done
    assert [action for action, _ in done].count("RESERVATION_CANCELLED") == 1


def test_two_browsers_see_each_other_s_change(site: Site, opened: Callable[[str], Window]) -> None:
    """Neither is reloaded: each page says so of itself."""
    with site.api.as_user("ada") as client:
        wish = {"gpu_type": "h100", "gpu_count": 2, "duration_hours": 1, "name": "shared", "github_user": "ada"}
        row_id = client.post("/v1/reservations", json=wish).json()["id"]
    hers, theirs = opened(site.api.url), opened(site.api.url)
    hers.sign_in(site.api.key_of("ada"))
    hers.to(f"/reservations/{row_id}")
    theirs.sign_in(site.api.key_of("ops", "DEVOPS"))
    row = theirs.page.locator("#part-ending tr", has_text="shared")
    expect(row).to_be_visible()
    ends = row.locator("time")
    before = ends.get_attribute("datetime")
    for window in (hers, theirs):
        window.page.evaluate("window.isTheSamePage = true")

    hers.page.get_by_text("Extend …").click()
    hers.page.get_by_role("button", name="Extend", exact=True).click()
    expect(ends).not_to_have_attribute("datetime", before or "")
    assert theirs.page.evaluate("window.isTheSamePage") is True
    hers.page.evaluate("window.isTheSamePage = true")

    row.get_by_role("link", name="shared").click()
    theirs.page.get_by_text("End …", exact=True).click()
    theirs.page.get_by_role("button", name="End", exact=True).click()
    expect(hers.page.locator("#part-state .state")).to_have_text(re.compile("cancelled"))

    assert hers.page.evaluate("window.isTheSamePage") is True
    assert hers.complaints + theirs.complaints == []


def test_what_is_unfolded_and_typed_stays_when_its_row_moves(site: Site, window: Window) -> None:
    """The buttons are sent anew then, as they are of the row as it is now."""
    with site.api.as_user("ada") as client:
        wish = {"gpu_type": "h100", "gpu_count": 2, "duration_hours": 1, "github_user": "ada"}
        row_id = client.post("/v1/reservations", json=wish).json()["id"]
    page = window.page
    window.sign_in(site.api.key_of("ada"))
    window.to(f"/reservations/{row_id}")
    page.get_by_text("Extend …").click()
    asks = page.locator("details", has_text="Extend …")
    asks.get_by_label("Reason").fill("still training")
    once = asks.locator("input[name=once]")
    before = once.get_attribute("value")

    with site.api.as_user("ada") as client:
        client.post(f"/v1/reservations/{row_id}/extend", json={"extension_hours": 1})
    expect(once).not_to_have_attribute("value", before or "")

    expect(asks.get_by_label("Reason")).to_be_visible()
    expect(asks.get_by_label("Reason")).to_have_value("still training")
    assert window.complaints == []


def test_the_main_way_needs_no_mouse(site: Site, window: Window) -> None:
    """To sign in, reserve, see it active and end it: Tab, Enter and what is typed."""
    page = window.page
    window.to("/sign-in")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    tab_to(page.get_by_label("API key"))
    page.keyboard.insert_text(site.api.key_of("ada"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.api.url}/")

    tab_to(page.get_by_role("link", name="Reserve", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.api.url}/reserve")
    tab_to(page.get_by_label("GPU type"))
    page.keyboard.type("h100")
    tab_to(page.get_by_label("Name", exact=True))
    page.keyboard.insert_text("by keyboard")
    tab_to(page.get_by_label("Your name at GitHub"))
    page.keyboard.insert_text("ada")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("by keyboard")
    state = page.locator("#part-state .state")
    expect(state).to_have_text(re.compile("active"))
    expect(page.locator("#ssh")).to_contain_text("ssh ")

    tab_to(page.get_by_text("End …", exact=True))
    page.keyboard.press("Enter")
    tab_to(page.get_by_role("button", name="End", exact=True))
    page.keyboard.press("Enter")

    expect(state).to_have_text(re.compile("cancelled"))
    assert window.complaints == []


def tab_to(wanted: Locator) -> None:
    """Press Tab until it has the focus, which is to be seen."""
    for _ in range(MOST_TABS):
        wanted.page.keyboard.press("Tab")
        if wanted.evaluate("each => each === document.activeElement && each.matches(':focus-visible')"):
            return
    raise AssertionError(f"{MOST_TABS} times Tab do not lead to {wanted}")
