"""Who may ask the sandbox: tokens that are rotated, and rights that can be asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


@pytest.fixture
def reviews(box: Box) -> Iterator[Any]:
    with connected(box) as api:
        yield client.AuthorizationV1Api(api)


def listed(box: Box, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return urllib3.request("GET", f"{box.url}/api/v1/pods", headers=headers, retries=False).status


def allowed(reviews: Any, verb: str, resource: str, subresource: str = "") -> bool:
    asked = {"namespace": NS, "verb": verb, "group": "", "resource": resource, "subresource": subresource}
    body = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    answered: bool = reviews.create_self_subject_access_review(body).status.allowed
    return answered


def test_a_token_is_good_until_another_takes_its_place(box: Box) -> None:
    box.rule("tokens", known=["old"])
    before = [listed(box, token) for token in ("old", "new")]

    box.rule("tokens", known=["new"])

    assert before == [200, 401]
    assert [listed(box, token) for token in ("old", "new")] == [401, 200]


def test_what_is_no_bearer_token_is_refused(box: Box, v1: Api) -> None:
    box.rule("tokens", known=["new"])

    with pytest.raises(client.ApiException) as refused:
        v1.list_namespaced_pod(NS)

    assert refused.value.status == 401


def test_a_review_tells_which_rights_there_are(box: Box, reviews: Any) -> None:
    box.rule("rights", missing=["create pods", "* pods/exec"])

    assert not allowed(reviews, "create", "pods")
    assert not allowed(reviews, "get", "pods", "exec")
    assert allowed(reviews, "list", "pods")
    assert allowed(reviews, "create", "services")


def test_a_review_about_nothing_is_invalid(reviews: Any) -> None:
    with pytest.raises(client.ApiException) as refused:
        reviews.create_self_subject_access_review({"kind": "SelfSubjectAccessReview", "spec": {}})

    assert refused.value.status == 422


def test_the_server_says_its_version_and_that_it_is_well(box: Box) -> None:
    with connected(box) as api:
        version = client.VersionApi(api).get_code()

    answered = urllib3.request("GET", f"{box.url}/readyz", retries=False)
    assert version.git_version.startswith("v1.36.")
    assert (answered.status, answered.data) == (200, b"ok")


def test_a_namespace_says_that_it_is_being_deleted(box: Box, v1: Api) -> None:
    before = v1.read_namespace(NS).status.phase

    box.rule("terminating", namespace=NS)

    assert (before, v1.read_namespace(NS).status.phase) == ("Active", "Terminating")
