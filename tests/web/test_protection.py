import re
from collections.abc import Callable
from http.cookies import SimpleCookie

import htpy as h
import httpx
import pytest
from markupsafe import Markup

from pgfleet.console.web.found import pages
from pgfleet.console.web.look.writing import kept, written
from worlds.web.site import Site, site_on

PLAIN = [page.path for page in pages() if "{" not in page.path and not page.is_fragment]
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>\'" &amp;'
PATHS = ("/", "/reservations", "/reservations/r-1", "/reservations/r-1/logs", "/reserve?name=" + HOSTILE)
NODES: dict[str, Callable[[], h.Node]] = {
    "text": lambda: "a < b & \"c\" 'd'",
    "nothing": lambda: [None, True, False, "", 0, [], h.p],
    "numbers": lambda: [1, -2, h.td[3]],
    "attributes": lambda: h.a("#id.one", {"hx-swap": "none", "@x": "<"}, href='/?a=1&b="2"', hidden=True)["x"],
    "void": lambda: [h.input(value="<"), h.br, h.img(alt='"')],
    "nested": lambda: h.div[h.ul[(h.li[each] for each in ("<", Markup("<b>"), None))], [[h.i["x"], ("y",)]]],
    "document": lambda: h.html(lang="en")[h.head[h.title["<"]], h.body["&"]],
    "script": lambda: h.script["a && b < c"],
    "fragment": lambda: h.fragment["<", h.b["x"]],
    "comment": lambda: h.comment("-->"),
    "later": lambda: h.p[lambda: h.b["<"]],
}


def test_each_page_forbids_scripts_and_styles_of_others_and_has_none_of_its_own(site: Site) -> None:
    browser = site.signed_in("boss", "ADMIN")

    for path in [*PLAIN, "/sign-in", "/nowhere"]:
        page = browser.get(path)
        policy = page.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)|\sstyle=|<style|\son\w+=\"|javascript:", page.text), (
            path
        )
        assert not re.search(r"(src|href|action)=\"(https?:)?//", page.text), path


def test_what_a_page_loads_is_here(site: Site) -> None:
    browser = site.browser()
    loaded = re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", browser.get("/sign-in").text)

    answers = [browser.get(path) for path in loaded]

    assert len(answers) == 5
    assert {(each.status_code, "immutable" in each.headers["cache-control"]) for each in answers} == {(200, True)}


@pytest.mark.parametrize("path", ["/do/create_reservation", "/sign-in", "/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {},
    ],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(site: Site, path: str, headers: dict[str, str]) -> None:
    browser = site.signed_in()
    fields = {"gpu_type": "h100", "gpu_count": "1", "key": site.api.key_of("ada")}

    answer = browser.http.post(path, data=fields, headers=headers)

    assert answer.status_code == 403
    assert "another site" in answer.text
    assert browser.get("/").status_code == 200
    assert site.api.conn.execute("select from public.reservations").fetchall() == []


def test_where_a_browser_tells_only_its_origin_that_counts(site: Site) -> None:
    browser = site.browser()

    answer = browser.http.post("/sign-in", data={"key": site.api.key_of("ada")}, headers={"Origin": site.api.url})

    assert answer.status_code == 303


def test_the_cookie_of_a_session_is_for_no_script_and_no_other_site(site: Site) -> None:
    cookie = SimpleCookie(site.browser().sign_in(site.api.key_of("ada")).headers["set-cookie"])["pgfleet_session"]

    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (True, "lax", "", "/")
    assert 0 < int(cookie["max-age"]) <= 12 * 3600
    assert cookie.value != site.api.key_of("ada")


def test_behind_a_trusted_proxy_that_ends_tls_the_cookie_is_for_https_only(dsn: str) -> None:
    for trusted, name in (("127.0.0.1", "__Host-pgfleet_session"), ("10.0.0.1", "pgfleet_session")):
        with site_on(dsn, trusted_proxies=trusted) as site:
            answer = site.browser().post(
                "/sign-in", {"key": site.api.key_of(f"of-{trusted}")}, **{"X-Forwarded-Proto": "https"}
            )
        assert answer.headers["set-cookie"].startswith(f"{name}=")
        assert ("Secure" in answer.headers["set-cookie"]) == (name != "pgfleet_session")


def test_the_api_takes_no_cookie(site: Site) -> None:
    browser = site.signed_in()

    assert browser.get("/v1/me").status_code == 401


def test_names_and_reasons_of_others_are_shown_as_they_are_and_do_nothing(site: Site) -> None:
    conn = site.api.conn
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at, name, jupyter_url, pod_logs)"
        " values ('r-1', %s, 'pending', 'h100', 1, 1, now(), %s, 'javascript:alert(1)', %s)",
        (HOSTILE, HOSTILE, HOSTILE),
    )
    conn.execute("update public.reservations set status = 'cancelled'")
    browser = site.signed_in("boss", "ADMIN")

    shown = [browser.get(path) for path in PATHS]
    refused = browser.get(f"/reservations?status={HOSTILE}")

    assert [page.status_code for page in (*shown, refused)] == [*(200 for _ in PATHS), 400]
    for page in (*shown, refused):
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert 'href="javascript' not in page.text
    assert all("&lt;script&gt;" in page.text for page in shown[1:])


@pytest.mark.parametrize("onward", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "x"])
def test_nobody_is_sent_to_another_site_after_signing_in(site: Site, onward: str) -> None:
    browser = site.browser()

    answer = browser.post("/sign-in", {"key": site.api.key_of("ada"), "next": onward})

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_an_address_of_the_api_that_is_none_is_a_problem_and_one_of_no_page_is_a_page(site: Site) -> None:
    browser = site.browser()

    problem, page = browser.get("/v1/nowhere"), browser.get("/nowhere")

    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    assert page.status_code == 404
    assert "There is nothing here" in page.text
    assert httpx.get(f"{site.api.url}/openapi.json").is_success


@pytest.mark.parametrize("name", NODES)
def test_elements_are_written_as_htpy_writes_them(name: str) -> None:
    node = NODES[name]

    assert written(node()) == str(h.fragment[node()])


def test_what_is_kept_is_escaped_once() -> None:
    assert written(h.p[kept(h.b["a < b"])]) == "<p><b>a &lt; b</b></p>"


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u061c", "\u200f"])
def test_a_sign_that_turns_text_around_is_no_part_of_it(sign: str) -> None:
    assert written(h.p[f"fine{sign}txt.exe"]) == "<p>fine\N{REPLACEMENT CHARACTER}txt.exe</p>"
