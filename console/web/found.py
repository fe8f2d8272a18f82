"""All pages that there are, of each file in `pages/`."""

from functools import cache
from importlib import import_module
from pkgutil import walk_packages

from pgfleet.console.web.page import Page

PACKAGE = "pgfleet.console.web.pages"


@cache
def pages() -> tuple[Page, ...]:
    """In the order of the menu, then of their addresses."""
    room = import_module(PACKAGE)
    found = sorted(each.name for each in walk_packages(room.__path__, f"{PACKAGE}.") if not each.ispkg)
    listed = [page for name in found for page in getattr(import_module(name), "PAGES", ())]
    return tuple(sorted(listed, key=lambda page: (page.menu is None, page.menu or 0, page.path)))
