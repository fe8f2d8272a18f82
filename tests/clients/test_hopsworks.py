"""The Hopsworks client against the sandbox's clusters, and against servers that answer oddly."""

import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pgfleet.console.sandbox import Box, running
from pgfleet.schema.fetching import bounded
from pgfleet.schema.settings import read_settings
from pgfleet.workers.clients.hopsworks.answers import ANSWER_BYTES, BUSY_CAP_S, BUSY_S, wait_s
from pgfleet.workers.clients.hopsworks.client import (
    Address,
    BusyError,
    Hopsworks,
    KeyRefusedError,
    Person,
    UnreachableError,
    connected,
)
from pgfleet.workers.runtime.outcomes import NeverError, NotNowError, TryAgainError

KEY = "k3y.Tell-Nobody"
USERS = "/admin/users$"
ANN = Person("auth0|64f0", "ann@example.org", "Ann", "O'Neil & Söhne", 5)
ITEM = {"id": 7, "username": "ann00000", "email": ANN.email, "accountType": "REMOTE_ACCOUNT_TYPE", "status": 2}
NONE: dict[str, Any] = {"count": 0}


@dataclass
class Odd:
    """A server that gives the answers it was told, the last one for ever, and keeps what it was asked."""

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def at(self) -> Address:
        return Address("1", "eu-1", self.url, KEY, "client-1")

    def says(self, *answers: Any) -> None:
        """Each is a document, (status, document, headers), or what takes over the handler."""
        self.answers = list(answers)


@contextmanager
def odd_server() -> Iterator[Odd]:
    odd = Odd()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            odd.asked.append((self.command, self.path, dict(self.headers)))
            told = odd.answers.pop(0) if len(odd.answers) > 1 else odd.answers[0]
            try:
                if callable(told):
                    told(self)
                    self.close_connection = True
                else:
                    reply(self, *told if isinstance(told, tuple) else (200, told))
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server calls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        odd.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield odd
        finally:
            odd.closing.set()
            server.shutdown()


def reply(handler: Any, status: int, document: Any = None, headers: dict[str, str] | None = None) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def odd() -> Iterator[Odd]:
    with odd_server() as server:
        yield server


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Box]:
    with running() as box:
        yield box


@pytest.fixture
def box(sandbox: Box) -> Iterator[Box]:
    yield sandbox
    sandbox.clear_faults()


@pytest.fixture
def at(box: Box) -> Address:
    """A cluster of the test's own."""
    name = f"c-{uuid.uuid4().hex}"
    return Address(name, name, box.hopsworks(name, api_key=KEY), KEY, "client-1")


@pytest.fixture(scope="module")
def hopsworks() -> Iterator[Hopsworks]:
    with patient(60) as client:
        yield client


@contextmanager
def patient(timeout_s: float) -> Iterator[Hopsworks]:
    with connected(read_settings(hopsworks_timeout_s=timeout_s)) as client:
        yield client


def no_hold() -> None:
    pass


def never_held() -> None:
    raise AssertionError("hold was called")


# Look-ups


def test_nobody_is_found_where_nobody_is(at: Address, hopsworks: Hopsworks) -> None:
    assert hopsworks.find(at, ANN.email) is None


def test_the_whole_e_mail_is_compared_and_letter_case_is_not(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    box.hopsworks_put(at.name, email="ann@example.org.uk")
    planted = box.hopsworks_put(at.name, email="Ann@Example.org", status=3, maxNumProjects=4)

    found = hopsworks.find(at, "aNN@example.ORG")

    assert found is not None
    assert (found.account_id, found.username, found.email) == (planted["id"], planted["username"], "Ann@Example.org")
    assert (found.account_type, found.enabled, found.max_projects) == ("M_ACCOUNT_TYPE", False, 4)
    assert hopsworks.find(at, "ann@example") is None


def test_of_two_spellings_the_same_one_is_found(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says({"items": [ITEM | {"email": "ANN@example.org"}, ITEM | {"id": 8}]})

    found = hopsworks.find(odd.at, ANN.email)

    assert found is not None
    assert found.account_id == 8


def test_a_letter_that_only_looks_the_same_in_lower_case_is_another_e_mail(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says({"items": [ITEM | {"email": "mar\N{KELVIN SIGN}@example.org"}]})

    assert hopsworks.find(odd.at, "mark@example.org") is None


@pytest.mark.parametrize("email", ["a+b@x.org", "a&b=c@x.org", "100%25@x.org", "a b@x.org", "ä#/?;@x.org"])
def test_an_e_mail_arrives_as_it_is(odd: Odd, hopsworks: Hopsworks, email: str) -> None:
    odd.says(NONE)

    hopsworks.find(odd.at, email)

    (method, path, headers) = odd.asked[0]
    assert (method, urlsplit(path).path) == ("GET", "/hopsworks-api/api/admin/users")
    assert parse_qs(urlsplit(path).query, strict_parsing=True) == {"filter_by": [f"user_email:{email}"]}
    assert headers["Authorization"] == f"ApiKey {KEY}"


def test_slashes_at_the_end_of_the_url_do_not_matter(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says(NONE)

    hopsworks.find(replace(odd.at, api_url=f"{odd.url}/eu//"), ANN.email)

    assert odd.asked[0][1].startswith("/eu/hopsworks-api/api/admin/users?")


def test_a_missing_id_is_read_from_the_address(odd: Odd, hopsworks: Hopsworks) -> None:
    item = {name: value for name, value in ITEM.items() if name not in ("id", "status")}
    odd.says({"items": [item | {"href": "http://x/hopsworks-api/api/users/4711", "more": [1]}]})

    found = hopsworks.find(odd.at, ANN.email)

    assert found is not None
    assert (found.account_id, found.enabled, found.max_projects) == (4711, False, None)


def test_all_pages_of_a_look_up_are_read(odd: Odd, hopsworks: Hopsworks) -> None:
    others = [ITEM | {"id": number, "email": f"{ANN.email}.{number}"} for number in range(5)]
    odd.says({"count": 6, "items": others[:3]}, {"count": 6, "items": [*others[3:], ITEM]})

    found = hopsworks.find(odd.at, ANN.email)

    assert found is not None
    assert found.account_id == 7
    assert [parse_qs(urlsplit(path).query).get("offset") for _, path, _ in odd.asked] == [None, ["3"]]


def test_a_server_that_gives_the_same_page_again_is_not_asked_for_ever(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says({"count": 600, "items": [ITEM | {"email": f"{ANN.email}.com"}]})

    assert hopsworks.find(odd.at, ANN.email) is None
    assert len(odd.asked) == 2


def test_an_account_is_found_by_its_number_whatever_its_e_mail_is(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    made = hopsworks.open_account(at, ANN, lambda: None)

    found = hopsworks.account(at, made.account_id)

    assert found == made
    assert hopsworks.account(at, made.account_id + 1) is None


@pytest.mark.parametrize(
    "answer", [(404, b"<html>no such page</html>", {}), ITEM | {"id": 8}, ITEM | {"username": ""}, b"", b"[]"]
)
def test_what_is_not_that_account_is_no_answer(odd: Odd, hopsworks: Hopsworks, answer: Any) -> None:
    odd.says(answer)

    with pytest.raises(UnreachableError):
        hopsworks.account(odd.at, 7)


@pytest.mark.parametrize("document", [{}, {"items": None}, {"items": []}])
def test_no_items_are_nobody(odd: Odd, hopsworks: Hopsworks, document: Any) -> None:
    odd.says(document)

    assert hopsworks.find(odd.at, ANN.email) is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>Welcome</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        {"items": 5},
        {"items": {"id": 7}},
        {"items": [None]},
        {"items": [ITEM | {"id": True}]},
        {"items": [ITEM | {"id": "7"}]},
        {"items": [ITEM | {"id": -1}]},
        {"items": [ITEM | {"id": 2**63}]},
        {"items": [ITEM | {"id": None, "href": "http://x/users/ann"}]},
        {"items": [ITEM | {"username": None}]},
        {"items": [ITEM | {"username": " "}]},
        {"items": [ITEM | {"username": "a\0b"}]},
        {"items": [ITEM | {"email": None}]},
    ],
    ids=lambda document: repr(document)[:40],
)
def test_what_makes_no_sense_is_no_answer(odd: Odd, hopsworks: Hopsworks, document: Any) -> None:
    odd.says(document)

    with pytest.raises(UnreachableError, match="not answered sensibly"):
        hopsworks.find(odd.at, ANN.email)


# Accounts are opened


def test_an_account_is_opened_and_read_back(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    held: list[int] = []

    opened = hopsworks.open_account(at, ANN, lambda: held.append(box.hopsworks_state(at.name)["posts"]))

    assert opened == hopsworks.find(at, ANN.email)
    assert (opened.enabled, opened.max_projects) == (True, 5)
    (user,) = box.hopsworks_state(at.name)["users"]
    assert (user["subject"], user["firstname"], user["lastname"]) == (ANN.subject, ANN.given_name, ANN.surname)
    assert held == [0]


def test_a_create_is_a_query_without_a_body(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says(NONE, (201, {"username": "ann00000"}, {"Location": "http://x/admin/users/12"}))

    opened = hopsworks.open_account(odd.at, ANN, no_hold)

    assert (opened.account_id, opened.username) == (12, "ann00000")
    method, path, headers = odd.asked[1]
    assert (method, headers["Content-Length"]) == ("POST", "0")
    assert "subject=auth0%7C64f0" in path
    assert {name: value for name, (value,) in parse_qs(urlsplit(path).query).items()} == {
        "accountType": "REMOTE_ACCOUNT_TYPE",
        "type": "OAUTH2",
        "email": ANN.email,
        "givenName": ANN.given_name,
        "surname": ANN.surname,
        "maxNumProjects": "5",
        "subject": ANN.subject,
        "clientId": "client-1",
    }


def test_an_account_that_is_there_is_adopted_without_a_hold(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    first = hopsworks.open_account(at, ANN, no_hold)

    again = hopsworks.open_account(at, ANN, never_held)

    assert again == first
    assert box.hopsworks_state(at.name)["posts"] == 1


def test_an_account_of_another_type_is_not_ours(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    box.hopsworks_put(at.name, email=ANN.email, accountType="M_ACCOUNT_TYPE")

    with pytest.raises(NeverError, match="another type"):
        hopsworks.open_account(at, ANN, never_held)

    assert box.hopsworks_state(at.name)["posts"] == 0


def test_an_account_that_hides_its_type_is_not_taken(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says({"items": [{name: value for name, value in ITEM.items() if name != "accountType"}]})

    with pytest.raises(TryAgainError, match="what type"):
        hopsworks.open_account(odd.at, ANN, never_held)


def test_nothing_is_created_without_a_hold(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    with pytest.raises(AssertionError, match="hold was called"):
        hopsworks.open_account(at, ANN, never_held)

    assert box.hopsworks_state(at.name)["posts"] == 0


@pytest.mark.parametrize(
    "fault", [{"drop": True}, {"status": 500}, {"status": 503}, {"status": 408}, {"delay_s": 3600}]
)
def test_a_create_that_was_done_and_not_answered_is_adopted(box: Box, at: Address, fault: dict[str, Any]) -> None:
    after = fault | {"after": True}
    box.fault(USERS, method="POST", **(after if "delay_s" not in fault else after | {"status": 500}))

    with patient(2 if "delay_s" in fault else 60) as hopsworks:
        opened = hopsworks.open_account(at, ANN, no_hold)

        assert opened == hopsworks.find(at, ANN.email)
    state = box.hopsworks_state(at.name)
    assert (state["created"], state["double_creations"]) == (1, 0)


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}, {"status": 408}])
def test_a_create_that_was_not_done_is_tried_again_later(
    box: Box, at: Address, hopsworks: Hopsworks, fault: dict[str, Any]
) -> None:
    box.fault(USERS, method="POST", **fault)

    # The look-up after it was answered: it is not the cluster that fails.
    with pytest.raises(TryAgainError, match="the create"):
        hopsworks.open_account(at, ANN, no_hold)
    opened = hopsworks.open_account(at, ANN, no_hold)

    state = box.hopsworks_state(at.name)
    assert opened.username == state["users"][0]["username"]
    assert (state["created"], state["double_creations"]) == (1, 0)


def test_an_account_that_appears_meanwhile_is_adopted(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    def appear() -> None:
        box.hopsworks_put(at.name, email="ANN@example.org", accountType="REMOTE_ACCOUNT_TYPE")

    opened = hopsworks.open_account(at, ANN, appear)

    assert opened == hopsworks.find(at, ANN.email)
    assert box.hopsworks_state(at.name)["created"] == 0


def test_an_account_of_another_type_that_appears_meanwhile_is_not_ours(
    box: Box, at: Address, hopsworks: Hopsworks
) -> None:
    def appear() -> None:
        box.hopsworks_put(at.name, email=ANN.email)

    with pytest.raises(NeverError, match="another type"):
        hopsworks.open_account(at, ANN, appear)


def test_a_user_who_exists_under_another_e_mail_is_no_matter_of_time(
    box: Box, at: Address, hopsworks: Hopsworks
) -> None:
    box.hopsworks_put(at.name, email="old@example.org", accountType="REMOTE_ACCOUNT_TYPE", subject=ANN.subject)

    with pytest.raises(NeverError, match="under another e-mail"):
        hopsworks.open_account(at, ANN, no_hold)


def test_another_conflict_is_told_in_the_servers_words(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says(NONE, (409, {"errorCode": 160099, "errorMsg": "Conflict", "usrMsg": "Not\nnow \x1b[31m" + "x" * 400}))

    with pytest.raises(NeverError, match=r"answered 409: 160099, Conflict, Not now  \[31mx") as told:
        hopsworks.open_account(odd.at, ANN, no_hold)

    assert str(told.value).isprintable()
    assert len(str(told.value)) < 350


@pytest.mark.parametrize(
    "created",
    [
        (201, {"username": "ann00000"}),
        (201, {}, {"Location": "http://x/admin/users/7"}),
        (201, b"done", {"Location": "http://x/admin/users/7"}),
        (200, {"username": ""}, {"Location": "http://x/admin/users/7"}),
        (201, {"username": "ann00000"}, {"Location": "http://x/admin/users/ann"}),
    ],
)
def test_what_a_create_does_not_say_is_looked_up(odd: Odd, hopsworks: Hopsworks, created: Any) -> None:
    odd.says(NONE, created, {"items": [ITEM]})

    opened = hopsworks.open_account(odd.at, ANN, no_hold)

    assert (opened.account_id, opened.username) == (7, "ann00000")


def test_a_username_is_never_made_up(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says(NONE, (201, {}), NONE)

    with pytest.raises(TryAgainError, match="can't be found"):
        hopsworks.open_account(odd.at, ANN, no_hold)


# Accounts are changed


def test_an_account_is_disabled_and_enabled(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    opened = hopsworks.open_account(at, ANN, no_hold)
    seen = []

    for enabled in (False, True):
        assert hopsworks.set_enabled(at, opened.account_id, enabled=enabled)
        seen.append(box.hopsworks_state(at.name)["users"][0]["status"])

    assert seen == [3, 2]


def test_projects_are_limited(at: Address, hopsworks: Hopsworks) -> None:
    opened = hopsworks.open_account(at, ANN, no_hold)

    assert hopsworks.set_max_projects(at, opened.account_id, 0)

    assert hopsworks.find(at, ANN.email) == replace(opened, max_projects=0)


def test_an_account_that_is_not_there_is_not_changed(at: Address, hopsworks: Hopsworks) -> None:
    assert not hopsworks.set_enabled(at, 1, enabled=False)
    assert not hopsworks.set_max_projects(at, 1, 5)


def test_a_change_may_be_answered_with_nothing(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says((204, b""))

    assert hopsworks.set_enabled(odd.at, 7, enabled=False)


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_says_nothing_of_an_account(odd: Odd, hopsworks: Hopsworks, status: int) -> None:
    odd.says((status, b"<html>default backend</html>"))

    with pytest.raises(UnreachableError):
        hopsworks.set_enabled(odd.at, 7, enabled=False)


# Whose fault it is


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, UnreachableError),
        (400, NeverError),
        (401, KeyRefusedError),
        (403, KeyRefusedError),
        (404, NeverError),
        (408, UnreachableError),
        (409, NeverError),
        (418, NeverError),
        (422, NeverError),
        (429, BusyError),
        (500, UnreachableError),
        (503, UnreachableError),
    ],
)
def test_a_status_tells_whose_fault_it_is(odd: Odd, hopsworks: Hopsworks, status: int, kind: type[Exception]) -> None:
    odd.says((status, {"errorCode": 120000, "usrMsg": "so it is"}))
    calls: list[Callable[[], Any]] = [
        lambda: hopsworks.find(odd.at, ANN.email),
        lambda: hopsworks.open_account(odd.at, ANN, never_held),
    ]
    if status != 404:
        calls.append(lambda: hopsworks.set_enabled(odd.at, 7, enabled=True))

    for call in calls:
        with pytest.raises(kind, match=rf"Hopsworks eu-1: the \S.* was answered {status}: 120000, so it is"):
            call()


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 408, 418, 429, 500])
def test_whatever_a_question_about_nobody_is_answered_but_that_there_is_none_is_trouble_of_the_cluster(
    odd: Odd, hopsworks: Hopsworks, status: int
) -> None:
    odd.says((status, {"errorCode": 120000, "usrMsg": "so it is"}))

    with pytest.raises(NotNowError, match=rf"^Hopsworks eu-1: the look-up was answered {status}: 120000, so it is"):
        hopsworks.probe(odd.at)


def test_a_probe_says_that_cluster_and_key_work(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    hopsworks.probe(at)

    with pytest.raises(KeyRefusedError):
        hopsworks.probe(replace(at, api_key="other"))
    assert box.hopsworks_state(at.name)["refused_keys"] == 1


def test_a_page_in_the_place_of_hopsworks_is_the_clusters_fault(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says((404, b"<html>default backend</html>"))

    with pytest.raises(UnreachableError):
        hopsworks.find(odd.at, ANN.email)


def test_a_busy_server_says_when_to_come_back(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    box.fault(USERS, method="POST", status=429, retry_after=7)

    with pytest.raises(BusyError) as busy:
        hopsworks.open_account(at, ANN, no_hold)

    assert busy.value.after_s == 7


@pytest.mark.parametrize(
    ("retry_after", "expected_s"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("1e9", BUSY_CAP_S),
        ("inf", BUSY_S),
        ("nan", BUSY_S),
        ("", BUSY_S),
        ("soon", BUSY_S),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Sun, 02 Jan 2000 00:00:07 GMT", 7),
        ("Fri, 31 Dec 99999 23:59:59 GMT", BUSY_S),
    ],
)
def test_there_is_always_a_time_to_come_back(retry_after: str, expected_s: float) -> None:
    assert wait_s(retry_after, "Sun, 02 Jan 2000 00:00:00 GMT") == expected_s


@pytest.mark.parametrize("ahead_s", [0, 1200, -1200])
def test_the_time_to_come_back_may_be_a_date_of_the_servers_clock(ahead_s: float) -> None:
    there = datetime.now(UTC) + timedelta(seconds=ahead_s)
    now, in_ten_s = (format_datetime(at, usegmt=True) for at in (there, there + timedelta(seconds=10)))

    assert wait_s(in_ten_s, now) == 10


@pytest.mark.parametrize("answered_at", ["", "soon"])
def test_a_date_without_the_servers_clock_says_nothing(answered_at: str) -> None:
    assert wait_s(format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True), answered_at) == BUSY_S


def test_a_server_that_is_not_there_is_unreachable(hopsworks: Hopsworks) -> None:
    with odd_server() as gone:
        at = gone.at

    with pytest.raises(UnreachableError, match=r"Hopsworks eu-1: the look-up got no answer \(ConnectError: .*refused"):
        hopsworks.find(at, ANN.email)


@pytest.mark.parametrize(
    "api_url",
    [
        "",
        "eu-1",
        "ftp://x",
        "http://",
        "http://[",
        "http://x:port",
        "http://127.0.0.1:99999",
        "http://a..b",
        "http://x\n.y",
        "http://user:word@x",
        "http://x/?a=b",
        "http://x/#a",
        " http://x",
    ],
)
def test_an_address_that_is_none_is_the_clusters_fault(hopsworks: Hopsworks, api_url: str) -> None:
    with pytest.raises(UnreachableError):
        hopsworks.find(Address("1", "eu-1", api_url, KEY, "client-1"), ANN.email)


@pytest.mark.parametrize("api_key", ["", " ", "two words", "line\nbreak", "schlüssel", "nul\0"])
def test_a_key_that_can_be_none_is_refused_unsent_and_unquoted(odd: Odd, hopsworks: Hopsworks, api_key: str) -> None:
    with pytest.raises(KeyRefusedError) as refused:
        hopsworks.find(replace(odd.at, api_key=api_key), ANN.email)

    assert odd.asked == []
    assert not api_key.strip() or api_key not in str(refused.value)


# The key stays where it belongs


def refuses_and_quotes_the_key(handler: Any) -> None:
    reply(handler, 400, {"errorCode": 1, "usrMsg": f"bad header: {handler.headers['Authorization']}"})


def hangs_up(handler: Any) -> None:
    handler.connection.close()


def talks_nonsense(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 lots of it\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [refuses_and_quotes_the_key, hangs_up, talks_nonsense, b"<html>", (401, {}), (429, {}), (500, {}), (302, {})],
)
def test_no_error_holds_the_key(odd: Odd, hopsworks: Hopsworks, answer: Any) -> None:
    odd.says(NONE, answer)

    with pytest.raises((NotNowError, TryAgainError, NeverError)) as raised:
        hopsworks.open_account(odd.at, ANN, no_hold)

    told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    ours = [text for text in told.format() if __file__ not in text]
    assert ours
    assert not any(KEY in text for text in ours)
    error: BaseException | None = raised.value
    while error is not None:
        assert type(error).__module__.startswith("pgfleet.workers.")
        error = error.__cause__ or error.__context__


def test_an_address_does_not_show_its_key(odd: Odd) -> None:
    assert KEY not in f"{odd.at!r} {odd.at}"


def test_a_server_without_the_tls_that_was_asked_for_gets_no_key(odd: Odd, hopsworks: Hopsworks) -> None:
    with pytest.raises(UnreachableError, match="ConnectError"):
        hopsworks.find(replace(odd.at, api_url=odd.url.replace("http:", "https:")), ANN.email)

    assert odd.asked == []


def test_a_redirect_is_not_followed(odd: Odd, hopsworks: Hopsworks) -> None:
    with odd_server() as elsewhere:
        odd.says((307, {}, {"Location": f"{elsewhere.url}/hopsworks-api/api/admin/users"}))

        with pytest.raises(UnreachableError, match="answered 307"):
            hopsworks.find(odd.at, ANN.email)

        assert elsewhere.asked == []


def test_a_session_is_not_kept(odd: Odd, hopsworks: Hopsworks) -> None:
    odd.says((200, NONE, {"Set-Cookie": "SESSION=1; Path=/"}))

    for _ in range(2):
        hopsworks.find(odd.at, ANN.email)

    assert not any("Cookie" in headers for _, _, headers in odd.asked)


def test_a_proxy_of_the_environment_does_not_see_the_key(
    odd: Odd, hopsworks: Hopsworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.says(NONE)
    with odd_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)

        with patient(60) as client:
            client.find(odd.at, ANN.email)

        assert proxy.asked == []


# Limits


def one_byte_at_a_time(odd: Odd, text: bytes) -> Callable[[Any], None]:
    def dribble(handler: Any) -> None:
        for byte in text:
            handler.wfile.write(bytes([byte]))
            if odd.closing.wait(0.02):
                return

    return dribble


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b" " * 999],
)
def test_a_server_that_dribbles_holds_nobody(odd: Odd, text: bytes) -> None:
    odd.says(one_byte_at_a_time(odd, text))
    started_at = time.monotonic()

    with patient(0.2) as hopsworks, pytest.raises(UnreachableError, match="ReadTimeout"):
        hopsworks.find(odd.at, ANN.email)

    # All of it would take 20 seconds.
    assert time.monotonic() - started_at < 15


def test_a_server_that_says_nothing_holds_nobody(odd: Odd) -> None:
    odd.says(lambda _: odd.closing.wait(60))
    started_at = time.monotonic()

    with patient(0.2) as hopsworks, pytest.raises(UnreachableError, match="ReadTimeout"):
        hopsworks.find(odd.at, ANN.email)

    assert time.monotonic() - started_at < 30


def test_a_long_pause_between_two_requests_is_no_part_of_either(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    odd.says(NONE)
    with patient(60) as hopsworks:
        hopsworks.find(odd.at, ANN.email)
        later = time.monotonic() + 600
        monkeypatch.setattr(bounded, "time", SimpleNamespace(monotonic=lambda: later))

        assert hopsworks.find(odd.at, ANN.email) is None


def announces_too_much(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(ANSWER_BYTES + 1))
    handler.end_headers()


def sends_too_much(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(ANSWER_BYTES // 2**20 + 1):
        handler.wfile.write(b" " * 2**20)


@pytest.mark.parametrize("answer", [announces_too_much, sends_too_much])
def test_an_answer_that_is_too_large_is_refused(odd: Odd, hopsworks: Hopsworks, answer: Any) -> None:
    odd.says(answer)

    with pytest.raises(UnreachableError, match="more than 8 MiB"):
        hopsworks.find(odd.at, ANN.email)


def test_threads_share_the_connections(box: Box, at: Address, hopsworks: Hopsworks) -> None:
    people = [replace(ANN, email=f"p{number}@example.org", subject=f"auth0|{number}") for number in range(40)]

    with ThreadPoolExecutor(16) as pool:
        opened = list(pool.map(lambda person: hopsworks.open_account(at, person, no_hold), people))

    assert [account.email for account in opened] == [person.email for person in people]
    assert len({account.username for account in opened}) == 40
    assert box.hopsworks_state(at.name)["created"] == 40
