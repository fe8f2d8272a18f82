"""`/v1/assignments`, `/v1/hopsworks-clusters` and `/v1/usage`."""

from urllib.parse import quote

import pytest

from worlds.api.audited import audited, turned
from worlds.api.server import Api
from worlds.outside.hopsworks import KEY, KUBECONFIG, assigned, bodies, fail_check, hopsworks, person

ADA, BOB = "auth0|ada", "auth0|bob"


def one(user_id: str, what: str = "") -> str:
    return f"/v1/assignments/{quote(user_id)}{what}"


def two_users(api: Api) -> str:
    """Ada and bob, who are on a cluster; its id."""
    cluster = hopsworks(api.conn, "eu-1")
    for user in (ADA, BOB):
        assigned(api.conn, person(api.conn, user), "active", cluster)
        api.conn.execute(
            "insert into hopsworks.usage_daily (user_id, date, seat_days, total_cost)"
            " values (%s, '2026-11-03', 1, 2.5)",
            (user,),
        )
    return cluster


def has_subject(api: Api, name: str, subject: str) -> None:
    """The account of that name has proven this subject with a token."""
    api.conn.execute(
        "insert into autoscaler.user_subjects (issuer, subject, account_id)"
        " select 'https://issuer', %s, account_id from public.api_users where username = %s",
        (subject, name),
    )


def test_who_is_called_as_at_auth0_sees_own_assignment_and_usage(api: Api) -> None:
    """And of another's nothing, as if it were not there."""
    two_users(api)

    with api.as_user(ADA) as ada:
        assert turned(ada, "/v1/assignments", "user_id") == [ADA]
        assert ada.get(one(ADA)).json()["cluster_name"] == "eu-1"
        assert ada.get(one(BOB)).status_code == 404
        assert turned(ada, "/v1/assignments", "user_id", user_id=BOB) == []
        assert turned(ada, "/v1/usage", "user_id", month="2026-11") == [ADA]
        assert ada.get(f"/v1/usage/{quote(BOB)}").status_code == 404


@pytest.mark.parametrize("rls", [False, True])
def test_whose_account_has_proven_the_subject_sees_the_same(api: Api, *, rls: bool) -> None:
    """The name may be another; with row level security or without. Whoever has proven none sees nothing."""
    two_users(api)
    api.key_of("ada")
    has_subject(api, "ada", ADA)
    api.conn.execute("select public.switch_row_level_security(%s)", (rls,))

    with api.as_user("ada") as ada, api.as_user("eve") as eve:
        assert turned(ada, "/v1/assignments", "user_id") == [ADA]
        assert ada.get(one(ADA)).json()["history"][-1]["what"] == "active"
        assert (ada.get(one(BOB)).status_code, ada.get(f"/v1/usage/{quote(ADA)}").status_code) == (404, 200)
        assert turned(ada, "/v1/usage", "user_id", month="2026-11") == [ADA]
        assert turned(eve, "/v1/assignments", "user_id") == turned(eve, "/v1/usage", "user_id") == []
        assert eve.get(one(ADA)).status_code == 404


def test_an_operator_sees_all_and_finds_them_by_state_and_cluster(api: Api) -> None:
    """By pages."""
    cluster = two_users(api)
    assigned(api.conn, person(api.conn, "auth0|zoe"), "pending")

    with api.as_user("ops", role="DEVOPS") as ops:
        assert set(turned(ops, "/v1/assignments", "user_id", limit=1)) == {ADA, BOB, "auth0|zoe"}
        assert set(turned(ops, "/v1/assignments", "user_id", cluster_id=cluster, status="active")) == {ADA, BOB}
        assert turned(ops, "/v1/assignments", "user_id", waiting="true") == ["auth0|zoe"]
        assert ops.get("/v1/assignments?status=happy").status_code == 400
        assert set(turned(ops, "/v1/usage", "user_id", month="2026-11", limit=1)) == {ADA, BOB}
        assert ops.get("/v1/usage?month=yesterday").status_code == 400


def test_an_administrator_asks_and_the_message_says_who(api: Api) -> None:
    """Each is sent once, with one row of the audit."""
    two_users(api)

    with api.as_user("boss", role="ADMIN") as boss:
        asked = [
            boss.post("/v1/assignments", json={"user_id": ADA}),
            boss.post(one(ADA, "/suspend")),
            boss.post(one(ADA, "/reactivate")),
            boss.post(one(ADA, "/release"), json={"reason": "has left"}),
        ]

    assert [answer.status_code for answer in asked] == [202] * 4
    assert asked[0].json()["href"] == "/v1/assignments/auth0%7Cada"
    assert [body["action"] for body in bodies(api.conn)] == ["assign", "suspend", "reactivate", "release"]
    for done in ("ASKED", "SUSPENDED", "REACTIVATED", "RELEASED"):
        assert audited(api.conn, f"ASSIGNMENT_{done}") == [(ADA, "ADMIN", "SUCCESS")]
    stamps = api.conn.execute("select distinct headers ->> 'asked_by' from pgmq.q_cluster_assignments").fetchall()
    assert ("boss",) in stamps


@pytest.mark.parametrize("role", ["USER", "DEVOPS"])
def test_nobody_else_asks(api: Api, role: str) -> None:
    """Refused, noted, and nothing is sent."""
    two_users(api)

    with api.as_user(ADA, role=role) as somebody:
        answer = somebody.post(one(ADA, "/release"), json={"reason": "x"})

    assert answer.status_code == 403
    assert bodies(api.conn) == []
    assert audited(api.conn, "ASSIGNMENT_RELEASED") == [(ADA, role, "FAILURE")]


def test_of_a_user_that_there_is_not_nothing_is_asked(api: Api) -> None:
    """404, as there would be nowhere to look what became of it."""
    with api.as_user("boss", role="ADMIN") as boss:
        assert boss.post("/v1/assignments", json={"user_id": "auth0|x"}).status_code == 404
        assert boss.post(one("auth0|x", "/suspend")).status_code == 404

    assert bodies(api.conn) == []


def test_clusters_are_shown_without_their_secrets(api: Api) -> None:
    """To operators alone."""
    cluster = two_users(api)
    fail_check(api.conn, cluster, "account", ADA)

    with api.as_user("ops", role="DEVOPS") as ops, api.as_user("eve") as eve:
        (listed,) = ops.get("/v1/hopsworks-clusters").json()["items"]
        whole = ops.get("/v1/hopsworks-clusters/eu-1")
        refused = eve.get("/v1/hopsworks-clusters").status_code, eve.get("/v1/hopsworks-clusters/eu-1").status_code
        missing = ops.get("/v1/hopsworks-clusters/zz").status_code

    assert (listed["name"], listed["assigned"], listed["breaker"]["open"]) == ("eu-1", 2, False)
    assert whole.json()["open_failures"][0]["user_id"] == ADA
    assert (refused, missing) == ((403, 403), 404)
    assert KEY not in whole.text
    assert KUBECONFIG not in whole.text


def test_a_drained_cluster_takes_nobody_and_its_users_are_to_move(api: Api) -> None:
    """By an administrator; one row of the audit."""
    cluster = two_users(api)

    with api.as_user("boss", role="ADMIN") as boss, api.as_user("ops", role="DEVOPS") as ops:
        refused = ops.post("/v1/hopsworks-clusters/eu-1/drain")
        done = boss.post("/v1/hopsworks-clusters/eu-1/drain", json={"move": True})

    assert (refused.status_code, done.status_code) == (403, 202)
    assert api.conn.execute("select status from hopsworks.hopsworks_clusters").fetchall() == [("maintenance",)]
    assert bodies(api.conn) == [{"action": "drain", "cluster_id": cluster}]
    assert [row[1:] for row in audited(api.conn, "HOPSWORKS_CLUSTER_DRAINED")] == [
        ("DEVOPS", "FAILURE"),
        ("ADMIN", "SUCCESS"),
    ]
    noted = api.conn.execute("select action from autoscaler.audit_logs where user_agent is not null").fetchall()
    assert noted == [("HOPSWORKS_CLUSTER_DRAINED",)] * 2


def test_a_drained_cluster_is_opened_again(api: Api) -> None:
    """By an administrator alone; twice is as once; what is full stays so."""
    two_users(api)
    full = hopsworks(api.conn, "us-1", max_users=0, status="full")

    with api.as_user("boss", role="ADMIN") as boss, api.as_user("ops", role="DEVOPS") as ops:
        boss.post("/v1/hopsworks-clusters/eu-1/drain", json={"move": False})
        refused = ops.post("/v1/hopsworks-clusters/eu-1/open")
        opened = [boss.post(f"/v1/hopsworks-clusters/{each}/open") for each in ("eu-1", "eu-1", full)]

    assert refused.status_code == 403
    assert [(answer.status_code, answer.json()["status"]) for answer in opened] == [
        (200, "active"),
        (200, "active"),
        (200, "full"),
    ]
    assert audited(api.conn, "HOPSWORKS_CLUSTER_OPENED")[1][1:] == ("ADMIN", "SUCCESS")
