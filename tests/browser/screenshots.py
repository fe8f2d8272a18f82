"""`make screenshots`: the pictures of the README, of a fleet that lives. No run of tests finds this file by itself."""

from collections.abc import Callable
from typing import Literal

from worlds.fleet import REPOSITORY
from worlds.web.lively import lively
from worlds.web.window import Window

FOLDER = REPOSITORY / "console" / "web" / "screenshots"
MOST_BYTES = 200_000
WAITS = "select reservation_id from public.reservations where status = 'queued' and name = 'eval of checkpoints'"


def test_two_pictures_are_taken(dsn: str, opened: Callable[[str], Window]) -> None:
    with lively(dsn) as site:
        (waits,) = site.api.conn.execute(WAITS.encode()).fetchone() or ("",)
        window = opened(site.api.url)
        window.sign_in(site.api.key_of("ops", "DEVOPS"))

        taken = [
            take(window, "fleet", "/", "light", 1000),
            take(window, "reservation", f"/reservations/{waits}", "dark", 720),
        ]

        assert max(taken) <= MOST_BYTES
        assert window.complaints == []


def take(window: Window, name: str, path: str, theme: Literal["light", "dark"], high: int) -> int:
    """Of the upper part of a page, as it is on a usual screen; how many bytes it has."""
    window.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    window.page.set_viewport_size({"width": 1280, "height": high})
    window.to(path)
    window.page.locator("main h2").first.wait_for()
    FOLDER.mkdir(exist_ok=True)
    return len(window.page.screenshot(path=FOLDER / f"{name}.png", scale="css"))
