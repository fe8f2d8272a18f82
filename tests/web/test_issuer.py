from urllib.parse import parse_qs, urlsplit

import httpx

from worlds.network.ports import free_port
from worlds.network.provider import SUBJECT, Provider, provider
from worlds.web.site import Browser, site_on

CLIENT = {"oidc_client_id": "dashboard", "oidc_client_secret": "any"}


def signed_at(issuer: Provider, begun: httpx.Response) -> str:
    """The way back that the issuer sends the browser on, once somebody has signed in there."""
    return httpx.post(begun.headers["location"], data={"sub": SUBJECT}).headers["location"]


def back(browser: Browser, address: str) -> httpx.Response:
    parts = urlsplit(address)
    return browser.get(f"{parts.path}?{parts.query}")


def test_whoever_signs_in_at_the_issuer_is_in_with_a_session_of_ours(dsn: str) -> None:
    with provider(free_port()) as issuer:
        issuer.knows(email="ada@example.org", email_verified=True, nickname="ada")
        with site_on(dsn, oidc_issuers=issuer.url, **CLIENT) as site:
            browser = site.browser()
            offered = browser.get("/sign-in?next=/reservations").text
            begun = browser.get("/sign-in/oidc?next=/reservations")
            asked = parse_qs(urlsplit(begun.headers["location"]).query)

            answer = back(browser, signed_at(issuer, begun))

            assert "/sign-in/oidc?next=%2Freservations" in offered
            assert (asked["code_challenge_method"], asked["client_id"]) == (["S256"], ["dashboard"])
            assert answer.status_code == 303, answer.text
            assert (answer.status_code, answer.headers["location"]) == (303, "/reservations")
            assert browser.get("/reservations").status_code == 200
            assert ("SIGNED_IN", "at an issuer") in site.api.audited("action", "description")


def test_a_way_back_that_this_browser_did_not_begin_leads_nowhere(dsn: str) -> None:
    with provider(free_port()) as issuer:
        issuer.knows(email="ada@example.org", email_verified=True, nickname="ada")
        with site_on(dsn, oidc_issuers=issuer.url, oidc_client_id="dashboard") as site:
            mallory, ada = site.browser(), site.browser()
            address = signed_at(issuer, mallory.get("/sign-in/oidc"))
            ada.get("/sign-in/oidc")

            answers = [back(ada, address), back(site.browser(), address)]

            assert [answer.status_code for answer in answers] == [400, 400]
            assert ada.get("/").status_code == 303


def test_an_issuer_that_is_away_is_told(dsn: str) -> None:
    with site_on(dsn, oidc_issuers=f"http://127.0.0.1:{free_port()}", oidc_client_id="dashboard") as site:
        answer = site.browser().get("/sign-in/oidc")

        assert answer.status_code == 503
        assert "issuer" in answer.text
