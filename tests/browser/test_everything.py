"""Every page, as each role, in both themes: it opens, complains of nothing, and axe finds nothing serious on it."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no stubs

from pgfleet.console.web.found import pages
from pgfleet.producers.http.permissions import whose
from pgfleet.schema.asking import Role, Whose
from worlds.api.rows import read_world
from worlds.web.site import Site, site_on
from worlds.web.window import Window

Opened = Callable[[str], Window]
Scheme = Literal["light", "dark"]
SERIOUS = ("serious", "critical")
# WCAG 2.2 AA, and what axe calls good practice.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# Of what a page about one thing is about, the first row is taken.
FIRST = {
    "/reservations/{id}": "select reservation_id from public.reservations",
    "/disks/{name}": "select disk_name from public.disks",
    "/disk-operations/{operation_id}": "select operation_id::text from public.disk_operations",
    "/dead-letters/{id}": "select dead_letter_id::text from public.dead_letters",
    "/nodes/{id}": "select id::text from autoscaler.nodes",
    "/nodes/{id}/configuration": "select id::text from autoscaler.nodes",
    "/clusters/{id}": "select cluster_id from clusters.clusters",
}
PEOPLE = (Role.USER, Role.DEVOPS, Role.ADMIN)


@pytest.fixture
def filled(dsn: str) -> Iterator[Site]:
    """The dashboard of a fleet with something of everything, and no worker."""
    with site_on(dsn) as running, read_world(dsn, running.api.conn, rls=False):
        yield running


def addresses(site: Site, role: Role) -> list[str]:
    """All pages that a role may see."""
    found = ["/sign-in", "/nothing-is-here"]
    for page in pages():
        if whose(page.permission, role) == Whose.NOBODYS or page.is_fragment:
            continue
        if "{" not in page.path:
            found.append(page.path)
        elif page.path in FIRST:
            row = site.api.conn.execute(f"{FIRST[page.path]} order by 1 limit 1".encode()).fetchone()
            assert row is not None, page.path
            found.append(re.sub(r"\{\w+\}", str(row[0]), page.path))
    return found


def wrong(window: Window) -> list[Any]:
    """What axe calls serious: the rule, what it is about, and where."""
    found = Axe().run(window.page, options=RULES).response["violations"]
    return [
        (each["id"], each["help"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("role", PEOPLE, ids=lambda role: role.value)
def test_nobody_is_kept_from_any_page_of_theirs(filled: Site, opened: Opened, role: Role) -> None:
    window = opened(filled.api.url)
    window.sign_in(filled.api.key_of("ada", role.value))
    schemes: tuple[Scheme, ...] = ("light", "dark") if role == Role.ADMIN else ("light",)

    faults: dict[str, Any] = {}
    for address in addresses(filled, role):
        window.to(address)
        for scheme in schemes:
            # Without motion: a colour that is on its way from one theme to the other is none of either.
            window.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            faults |= {f"{address} {scheme}": found for found in [wrong(window)] if found}

    assert faults == {}
    # That there is no such page, the browser says, too.
    assert [each for each in window.complaints if "404" not in each] == []


def test_on_a_narrow_screen_no_page_is_wider_than_it(filled: Site, opened: Opened) -> None:
    window = opened(filled.api.url)
    window.sign_in(filled.api.key_of("ada", "ADMIN"))
    window.page.set_viewport_size({"width": 390, "height": 844})

    wide = []
    for address in addresses(filled, Role.ADMIN):
        window.to(address)
        if window.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(address)

    assert wide == []
