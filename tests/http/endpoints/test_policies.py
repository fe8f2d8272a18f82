"""`/v1/policies`: operators say how much people may have."""

import pytest

from worlds.api.server import Api

PATH = "/v1/policies"
OF_ADA = {"user": "ada", "gpu_type": "h100"}


def kept(api: Api, limit: str) -> list[tuple[object, ...]]:
    query = "select applies_to, subject, gpu_type, most, patterns, set_by from public.policies where limit_name = %s"
    return api.conn.execute(query, (limit,)).fetchall()


def test_an_operator_sets_a_policy_and_takes_it_away(api: Api) -> None:
    """It says who set it; the audit has each once; whoever it is about sees it."""
    with api.as_user("ops", role="DEVOPS") as ops, api.as_user("ada") as ada:
        put = ops.put(f"{PATH}/gpus", json={**OF_ADA, "most": 4})
        after, seen = kept(api, "gpus"), ada.get(PATH).json()["items"]
        removed = [ops.delete(f"{PATH}/gpus", params=OF_ADA).status_code for _ in range(2)]

    assert put.status_code == 204, put.text
    assert after == [("user", "ada", "h100", 4.0, None, "ops")]
    assert [row["most"] for row in seen if (row["name"], row["gpu_type"]) == ("gpus", "h100")] == [4.0]
    assert removed == [204, 404]
    assert kept(api, "gpus") == []
    assert [row for row in api.audited("action", "user_role", "status") if row[0].startswith("POLICY")][:2] == [
        ("POLICY_SET", "DEVOPS", "SUCCESS"),
        ("POLICY_REMOVED", "DEVOPS", "SUCCESS"),
    ]


def test_images_are_limited_by_patterns_and_nothing_given_is_no_limit(api: Api) -> None:
    with api.as_user("ops", role="DEVOPS") as ops:
        ops.put(f"{PATH}/images", json={"patterns": ["ours/*", "theirs/*"]})
        ops.put(f"{PATH}/disks", json={"team": "auth0|owner"})
        ops.put(f"{PATH}/images", json={"patterns": ["none"], "user": "ada"})

    assert kept(api, "images") == [
        ("everybody", "", "", None, ["ours/*", "theirs/*"], "ops"),
        ("user", "ada", "", None, ["none"], "ops"),
    ]
    assert ("team", "auth0|owner", "", None, None, "ops") in kept(api, "disks")


@pytest.mark.parametrize(
    ("limit", "body", "status"),
    [
        ("gpu", {"most": 1}, 404),
        ("gpus", {"most": -1}, 400),
        ("gpus", {"most": 1.5}, 409),
        ("gpus", {"most": 1, "user": "ada", "team": "x"}, 400),
        ("gpus", {"most": 1, "gpu_type": "quantum"}, 409),
        ("disks", {"most": 1, "gpu_type": "h100"}, 409),
        ("disks", {"patterns": ["a/*"]}, 409),
        ("disks", {"patterns": ["none"]}, 409),
        ("disks", {"patterns": ["a/*"], "most": 3}, 409),
        ("images", {"most": 1}, 409),
        ("images", {"patterns": ["a/*"], "most": 3}, 409),
        ("disks", {"most": 1, "user": "a\nb"}, 400),
    ],
)
def test_what_can_be_no_policy_is_refused(api: Api, limit: str, body: dict[str, object], status: int) -> None:
    before = kept(api, limit)

    with api.as_user("ops", role="DEVOPS") as ops:
        answer = ops.put(f"{PATH}/{limit}", json=body)

    assert answer.status_code == status, answer.text
    assert kept(api, limit) == before


def test_a_user_sets_none(api: Api) -> None:
    with api.as_user("ada") as ada:
        answers = [ada.put(f"{PATH}/gpus", json={"most": 99}), ada.delete(f"{PATH}/disks")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert kept(api, "gpus") == []
