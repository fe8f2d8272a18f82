"""The sandbox is a Hopsworks admin API as far as an HTTP client can tell."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pgfleet.console import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box

KEY = "a-key-nobody-prints"
NUMBERS = itertools.count()
ADA = "ada.lovelace@example.com"


@pytest.fixture(scope="module")
def shared_box() -> Iterator[Box]:
    with sandbox.running() as running:
        yield running


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    yield shared_box
    shared_box.clear_faults()


@pytest.fixture
def name() -> str:
    """A cluster of each test's own."""
    return f"cluster-{next(NUMBERS)}-"


@pytest.fixture
def admin(box: Box, name: str) -> Iterator[httpx.Client]:
    with connected(box.hopsworks(name, api_key=KEY)) as client:
        yield client


def connected(api_url: str, key: str = KEY, timeout_s: float = 10.0) -> httpx.Client:
    headers = {"Authorization": f"ApiKey {key}"}
    return httpx.Client(base_url=f"{api_url}/hopsworks-api/api/admin", headers=headers, timeout=timeout_s)


def wish(email: str | None = ADA, **changed: str | None) -> dict[str, str]:
    query = {
        "accountType": "REMOTE_ACCOUNT_TYPE",
        "email": email,
        "givenName": "Ada",
        "surname": "Lovelace",
        "maxNumProjects": "5",
        "type": "OAUTH2",
        "subject": f"auth0|{email}".lower(),
        "clientId": "client",
    } | changed
    return {key: value for key, value in query.items() if value is not None}


def create(admin: httpx.Client, email: str = ADA, **changed: str | None) -> httpx.Response:
    return admin.post("/users", params=wish(email, **changed))


def found(admin: httpx.Client, prefix: str) -> list[dict[str, Any]]:
    answered = admin.get("/users", params={"filter_by": f"user_email:{prefix}"})
    items: list[dict[str, Any]] = answered.json().get("items", [])
    return items


def refused(response: httpx.Response) -> tuple[int, int]:
    told = response.json()
    assert set(told) == {"errorCode", "errorMsg", "usrMsg"}
    return response.status_code, told["errorCode"]


def test_a_new_user_is_told_by_its_location_and_its_username_but_not_by_its_id(
    box: Box, name: str, admin: httpx.Client
) -> None:
    answered = create(admin)

    location = answered.headers["Location"]
    item = admin.get(location).json()
    assert answered.status_code == 201
    assert answered.json() == {
        "uuid": f"client.auth0|{ADA}",
        "email": ADA,
        "givenName": "Ada",
        "surname": "Lovelace",
        "username": "adalovel",
    }
    assert location == f"{box.url}/hopsworks/{name}/hopsworks-api/api/admin/users/{item['id']}"


def test_a_user_is_shown_with_all_its_fields(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin)

    (item,) = found(admin, ADA)

    assert item == {
        "id": item["id"],
        "username": "adalovel",
        "email": ADA,
        "firstname": "Ada",
        "lastname": "Lovelace",
        "status": 2,
        "accountType": "REMOTE_ACCOUNT_TYPE",
        "maxNumProjects": 5,
        "href": f"{box.url}/hopsworks/{name}/hopsworks-api/api/users/{item['id']}",
    }
    assert isinstance(item["id"], int)


@pytest.mark.parametrize("key", [None, "", "ApiKey", "ApiKey wrong", f"Bearer {KEY}", KEY])
def test_a_key_that_is_not_the_clusters_is_refused(box: Box, name: str, admin: httpx.Client, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": key}

    answered = httpx.get(f"{admin.base_url}users", headers=headers)

    assert refused(answered) == (401, 160000)
    assert box.hopsworks_state(name)["refused_keys"] == 1


def test_no_answer_tells_the_key(box: Box, name: str, admin: httpx.Client) -> None:
    wrong = admin.get("/users", headers={"Authorization": f"Bearer {KEY}"})
    answers = [wrong, create(admin), create(admin), admin.get("/users"), admin.put("/users/1", json={"status": 9})]

    told = [str(box.hopsworks_state(name)), *(f"{answer.headers} {answer.text}" for answer in answers)]

    assert [text for text in told if KEY in text] == []


def test_the_filter_is_a_prefix_in_any_case(admin: httpx.Client) -> None:
    for email in ("Ada@example.com", "ada@example.com.au", "bob@example.com"):
        create(admin, email)

    assert [item["email"] for item in found(admin, "aDa@Example.com")] == ["Ada@example.com", "ada@example.com.au"]
    assert [item["email"] for item in found(admin, "bob")] == ["bob@example.com"]


def test_a_list_of_nobody_has_no_items(admin: httpx.Client) -> None:
    answered = admin.get("/users", params={"filter_by": "user_email:nobody"})

    assert answered.status_code == 200
    assert set(answered.json()) == {"href", "count"}
    assert answered.json()["count"] == 0


def test_pages_together_are_the_list(admin: httpx.Client) -> None:
    for number in range(7):
        create(admin, f"user-{number}@example.com")

    pages = [admin.get("/users", params={"offset": offset, "limit": 3}).json() for offset in range(0, 12, 3)]

    emails = [item["email"] for page in pages for item in page.get("items", ())]
    assert emails == [f"user-{number}@example.com" for number in range(7)]
    assert [page["count"] for page in pages] == [7] * 4
    assert "items" not in pages[-1]


@pytest.mark.parametrize("query", [{"filter_by": "colour:red"}, {"limit": "-1"}, {"offset": "x"}])
def test_a_list_that_cannot_be_made_is_refused(admin: httpx.Client, query: dict[str, str]) -> None:
    assert refused(admin.get("/users", params=query)) == (400, 120007)


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("account_id", ["9999", "adalovel", "", "-1"])
def test_a_user_that_is_not_there_is_not_found(admin: httpx.Client, method: str, account_id: str) -> None:
    create(admin)

    assert refused(admin.request(method, f"/users/{account_id}", json={"status": 3})) == (404, 160002)


@pytest.mark.parametrize(
    "changed",
    [
        *({missing: None} for missing in wish()),
        {"email": ""},
        {"maxNumProjects": "many"},
        {"maxNumProjects": "-1"},
        {"accountType": "OTHER"},
        {"type": "LDAP"},
    ],
)
def test_a_creation_that_lacks_something_is_refused(
    box: Box, name: str, admin: httpx.Client, changed: dict[str, str | None]
) -> None:
    answered = admin.post("/users", params=wish(**changed))

    assert refused(answered) == (400, 120007)
    assert box.hopsworks_state(name)["users"] == []


def test_a_creation_with_a_body_is_refused(box: Box, name: str, admin: httpx.Client) -> None:
    answered = admin.post("/users", params=wish(), json={"email": ADA})

    assert refused(answered) == (400, 120007)
    assert box.hopsworks_state(name)["users"] == []


def test_an_email_is_one_account_in_any_case(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin, ADA)

    answered = create(admin, ADA.upper(), subject="another")

    state = box.hopsworks_state(name)
    assert refused(answered) == (409, 160003)
    assert [user["email"] for user in state["users"]] == [ADA]
    assert (state["posts"], state["created"], state["double_creations"]) == (2, 1, 1)


def test_a_subject_is_one_account(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin, "a@example.com", subject="auth0|1")

    answered = create(admin, "b@example.com", subject="auth0|1")

    assert refused(answered) == (409, 160003)
    assert box.hopsworks_state(name)["double_creations"] == 0


def test_usernames_are_the_servers(admin: httpx.Client) -> None:
    """Cut, cleaned, and numbered when taken: no caller can foretell them."""
    emails = ("Ada.Lovelace@a", "ada.lovelace@b", "adalovelx@c", "bo@d", "b-o@e", "ÅÄÖ@f", "user@g")

    names = [create(admin, email).json()["username"] for email in emails]

    assert names == ["adalovel", "adalo000", "adalo001", "bo", "bo000", "user", "user000"]


@pytest.mark.parametrize("wanted", [{"status": 3}, {"maxNumProjects": 0}, {"status": 3, "maxNumProjects": 1}])
def test_a_change_is_answered_with_what_became_of_the_user(admin: httpx.Client, wanted: dict[str, int]) -> None:
    create(admin)
    (before,) = found(admin, ADA)

    answered = admin.put(f"/users/{before['id']}", json=wanted)

    assert answered.status_code == 200
    assert answered.json() == before | wanted
    assert found(admin, ADA) == [before | wanted]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "status=3",
        "[]",
        "{}",
        '{"status": 9}',
        '{"status": "3"}',
        '{"status": true}',
        '{"status": 3, "maxNumProjects": -1}',
        '{"username": "root"}',
    ],
)
def test_a_change_that_cannot_be_read_changes_nothing(admin: httpx.Client, body: str) -> None:
    create(admin)
    (before,) = found(admin, ADA)

    assert refused(admin.put(f"/users/{before['id']}", content=body)) == (400, 120007)

    assert found(admin, ADA) == [before]


def test_clusters_share_nothing(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin)
    other = box.hopsworks(f"{name}other", api_key="another key")

    with connected(other, "another key") as elsewhere, connected(other, KEY) as stranger:
        assert found(elsewhere, ADA) == []
        assert refused(stranger.get("/users")) == (401, 160000)
        assert create(elsewhere).status_code == 201


def test_a_cluster_nobody_made_is_not_found(box: Box) -> None:
    with connected(f"{box.url}/hopsworks/never-made") as nowhere:
        assert refused(nowhere.get("/users")) == (404, 120004)
    with pytest.raises(ValueError, match="no Hopsworks cluster"):
        box.hopsworks_state("never-made")


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/projects", 404), ("DELETE", "/users", 405)])
def test_other_requests_have_an_error_of_hopsworks_too(admin: httpx.Client, method: str, path: str, code: int) -> None:
    assert refused(admin.request(method, path)) == (code, 120004)


@pytest.mark.parametrize("path", ["", "/", "/users", "/admin/users", "/x/hopsworks-api/api/admin/users"])
def test_the_api_is_at_its_own_address_only(box: Box, name: str, admin: httpx.Client, path: str) -> None:
    answered = httpx.get(f"{box.url}/hopsworks/{name}{path}", headers=admin.headers)

    assert refused(answered) == (404, 120004)


def test_a_new_key_puts_the_old_one_out_of_use_and_keeps_the_accounts(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin)

    api_url = box.hopsworks(name, api_key="new")

    with connected(api_url, "new") as renewed:
        assert refused(admin.get("/users")) == (401, 160000)
        assert len(found(renewed, ADA)) == 1


def test_a_cluster_changed_without_a_key_keeps_its_key(box: Box, name: str, admin: httpx.Client) -> None:
    box.hopsworks(name, latency_s=0.1)
    started_at = time.monotonic()

    answered = admin.get("/users")

    assert answered.status_code == 200
    assert time.monotonic() - started_at >= 0.1


def test_a_forgotten_account_is_gone_and_may_be_made_again(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin)
    (before,) = found(admin, ADA)

    box.hopsworks_forget(name, ADA.upper())

    assert found(admin, ADA) == []
    assert refused(admin.get(f"/users/{before['id']}")) == (404, 160002)
    assert create(admin).json()["username"] == before["username"]
    assert found(admin, ADA)[0]["id"] != before["id"]
    assert box.hopsworks_state(name)["double_creations"] == 0


def test_an_account_nobody_has_cannot_be_forgotten(box: Box, name: str, admin: httpx.Client) -> None:
    with pytest.raises(ValueError, match="has no account"):
        box.hopsworks_forget(name, ADA)


def test_an_account_of_somebody_else_stands_in_the_way(box: Box, name: str, admin: httpx.Client) -> None:
    planted = box.hopsworks_put(name, ADA, accountType="M_ACCOUNT_TYPE", username="meb10000", status=3)

    answered = create(admin)

    state = box.hopsworks_state(name)
    assert refused(answered) == (409, 160003)
    assert found(admin, ADA) == [planted]
    assert (planted["accountType"], planted["username"], planted["status"]) == ("M_ACCOUNT_TYPE", "meb10000", 3)
    assert (state["created"], state["double_creations"]) == (0, 1)


def test_a_planted_account_is_an_active_one_with_a_password_unless_told_otherwise(
    box: Box, name: str, admin: httpx.Client
) -> None:
    planted = box.hopsworks_put(name, ADA, username=None)

    (user,) = box.hopsworks_state(name)["users"]
    assert user == planted | {"subject": ""}
    assert (user["accountType"], user["username"], user["status"]) == ("M_ACCOUNT_TYPE", "adalovel", 2)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"email": ""}, "an email"),
        ({"email": "b@example.com", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    box: Box, name: str, admin: httpx.Client, fields: dict[str, Any], why: str
) -> None:
    create(admin)

    with pytest.raises(ValueError, match=why):
        box.hopsworks_put(name, **fields)


def test_the_state_tells_the_subjects_and_counts_requests(box: Box, name: str, admin: httpx.Client) -> None:
    create(admin)
    found(admin, ADA)

    state = box.hopsworks_state(name)

    assert [user["subject"] for user in state["users"]] == [f"auth0|{ADA}"]
    assert (state["requests"], state["posts"], state["created"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("status", "error"), [(400, 120007), (401, 160000), (404, 160002), (409, 160003), (429, 120000), (500, 120000)]
)
def test_a_refusal_on_order_is_one_of_hopsworks(
    box: Box, name: str, admin: httpx.Client, status: int, error: int
) -> None:
    box.fault(f"{name}/.*/users$", method="POST", status=status, retry_after=7)

    answered = create(admin)

    assert refused(answered) == (status, error)
    assert answered.headers["Retry-After"] == "7"
    assert box.hopsworks_state(name)["posts"] == 0


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 504}, {"delay_s": 3600}])
def test_a_creation_may_be_carried_out_and_denied(
    box: Box, name: str, admin: httpx.Client, fault: dict[str, Any]
) -> None:
    """The caller sees a timeout, a broken connection or an error, and the account is there."""
    box.fault(f"{name}/.*/users$", method="POST", after=True, **fault)

    with (
        connected(str(admin.base_url).partition("/hopsworks-api")[0], timeout_s=1) as hasty,
        pytest.raises(httpx.HTTPError),
    ):
        create(hasty).raise_for_status()

    assert len(found(admin, ADA)) == 1
    assert refused(create(admin)) == (409, 160003)


def test_a_caller_who_does_not_wait_for_a_slow_cluster_has_an_account_all_the_same(box: Box, name: str) -> None:
    api_url = box.hopsworks(name, api_key=KEY, latency_s=300)

    with connected(api_url, timeout_s=1) as hasty, pytest.raises(httpx.TimeoutException):
        create(hasty)

    assert box.hopsworks_state(name)["created"] == 1
