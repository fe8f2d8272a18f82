"""The dashboard beside the API, and browsers without a screen, each with its cookies and the origin of its forms."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import httpx

from pgfleet.console.web.site import site
from worlds.api.server import Api, api_on

FORM = re.compile(r"<form\b[^>]*\baction=\"(?P<action>[^\"]*)\".*?</form>", re.DOTALL)
INPUT = re.compile(r"<input\b(?P<attributes>[^>]*)>")
ATTRIBUTE = re.compile(r"([\w:-]+)=\"([^\"]*)\"")


@dataclass
class Browser:
    """One who looks."""

    http: httpx.Client
    url: str

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """As a form of a page of ours."""
        return self.http.post(path, data=fields or {}, headers={"Sec-Fetch-Site": "same-origin", **headers})

    def sign_in(self, key: str) -> httpx.Response:
        return self.post("/sign-in", {"key": key})

    def press(self, page: httpx.Response, action: str, **typed: str) -> httpx.Response:
        """The form of a page with that action, its fields as they are but for what is typed."""
        return self.post(action, {**fields_of(page, action), **typed})


def fields_of(page: httpx.Response, action: str) -> dict[str, str]:
    """What a form of a page would send as it is."""
    found = next((form for form in FORM.finditer(page.text) if unescape(form["action"]) == action), None)
    assert found is not None, f"there is no form {action} in\n{page.text}"
    inputs = (dict(ATTRIBUTE.findall(each["attributes"])) for each in INPUT.finditer(found[0]))
    return {each["name"]: unescape(each.get("value", "")) for each in inputs if each.get("type") != "checkbox"}


@dataclass
class Site:
    api: Api
    _browsers: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        """One that nobody has signed in with."""
        made = Browser(httpx.Client(base_url=self.api.url, timeout=30, trust_env=False), self.api.url)
        self._browsers.append(made)
        return made

    def signed_in(self, user: str = "ada", role: str = "USER") -> Browser:
        browser = self.browser()
        answer = browser.sign_in(self.api.key_of(user, role))
        assert answer.status_code == 303, answer.text
        return browser

    def close(self) -> None:
        for browser in self._browsers:
            browser.http.close()


@contextmanager
def site_on(dsn: str, **settings: Any) -> Iterator[Site]:
    with api_on(dsn, beside=site, **settings) as api:
        made = Site(api)
        try:
            yield made
        finally:
            made.close()
