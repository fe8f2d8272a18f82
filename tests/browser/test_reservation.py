import re

from playwright.sync_api import expect

from pgfleet.console.sandbox.box import Box
from worlds.fleet import PATIENCE_S
from worlds.web.site import Site
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)


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
    window.sign_in(site.api.key_of("ada"))
    reserve(window, "8")
    expect(page.locator("#ahead")).to_contain_text("Would start now")
    page.get_by_label("Name", exact=True).fill("training")
    page.get_by_label("Your name at GitHub").fill("ada")
    page.get_by_role("button", name="Reserve").click()

    page.evaluate("window.isTheSamePage = true")
    expect(page.locator("#part-state .state")).to_have_text(re.compile("active"))
    expect(page.locator("#ssh")).to_contain_text("ssh ")
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


def test_two_browsers_see_what_the_other_one_does(site: Site, window: Window) -> None:
    window.sign_in(site.api.key_of("ops", "DEVOPS"))
    expect(window.page.locator("#part-ending")).to_contain_text("Nothing runs")

    other = site.signed_in("ada")
    page = other.get("/reserve")
    asked = {"gpu_type": "h100", "gpu_count": "2", "name": "from elsewhere", "github_user": "ada"}
    answer = other.press(page, "/do/create_reservation", **asked)

    assert answer.status_code == 303
    expect(window.page.locator("#part-ending")).to_contain_text("from elsewhere")
    assert window.complaints == []
