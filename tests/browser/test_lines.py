"""Who waits: a place that moves by itself, and a gang that starts together."""

import re

import pytest
from playwright.sync_api import expect

from pgfleet.console.sandbox.box import Box
from worlds.fleet import PATIENCE_S
from worlds.web.site import Site
from worlds.web.window import Window

expect.set_options(timeout=PATIENCE_S * 1000)
ASKED = {"gpu_type": "h100", "gpu_count": 8, "duration_hours": 2, "github_user": "ada"}


def ask(site: Site, user: str, name: str, **more: object) -> str:
    with site.api.as_user(user) as client:
        made = client.post("/v1/reservations", json={**ASKED, "name": name, **more})
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


@pytest.mark.usefixtures("box")
def test_whoever_waits_sees_their_place_move_and_then_their_start(site: Site, window: Window) -> None:
    page = window.page
    ahead = [ask(site, user, f"of {user}") for user in ("bob", "eve", "mallory")]
    window.sign_in(site.api.key_of("ada"))
    window.to("/reserve")
    page.get_by_label("GPU type").select_option("h100")
    page.get_by_label("GPUs a node").select_option("8")
    expect(page.locator("#ahead")).to_contain_text("Would start in")
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_label("Your name at GitHub").fill("ada")
    page.get_by_role("button", name="Reserve").click()

    place = page.locator("#part-state")
    expect(place).to_contain_text("1 ahead of it")
    page.evaluate("window.isTheSamePage = true")
    with site.api.as_user("mallory") as client:
        client.delete(f"/v1/reservations/{ahead[2]}")
    expect(place).to_contain_text("Next in line")
    with site.api.as_user("bob") as client:
        client.delete(f"/v1/reservations/{ahead[0]}")
    expect(place.locator(".state").first).to_have_text(re.compile("active"))

    assert page.evaluate("window.isTheSamePage") is True
    assert window.complaints == []


def test_a_gang_is_asked_for_as_one_and_each_node_of_it_has_its_page(site: Site, box: Box, window: Window) -> None:
    page = window.page
    window.sign_in(site.api.key_of("ada"))
    window.to("/reserve")
    page.get_by_label("GPU type").select_option("h100")
    page.get_by_label("GPUs a node").select_option("8")
    page.get_by_label("Nodes, together").fill("2")
    expect(page.locator("#ahead")).to_contain_text("Would start now")
    page.get_by_label("Name", exact=True).fill("together")
    page.get_by_label("Your name at GitHub").fill("ada")
    page.get_by_role("button", name="Reserve").click()

    gang = page.locator("dt:text-is('Gang') + dd a")
    expect(gang).to_have_text([re.compile(r"node 1 \(active\)"), re.compile(r"node 2 \(active\)")])
    gang.nth(1).click()
    expect(page.locator("#part-state .state").first).to_have_text(re.compile("active"))

    assert len(box.state()["objects"]) > 0
    assert window.complaints == []
