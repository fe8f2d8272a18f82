"""What a worker looks for at its cluster before it takes messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.workers.clients import ssh_keys
from pgfleet.workers.clients.kubernetes import pods
from pgfleet.workers.clients.kubernetes.rights import IN_CLUSTER, IN_NAMESPACE, Right, lacking, needed
from pgfleet.workers.clients.kubernetes.template.reading import read_template
from pgfleet.workers.runtime.outcomes import Calls, NotNowError
from worlds.fleet import settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.box import Box

NS = "gpu-dev"
URL = "postgresql://nobody@localhost/none"


@pytest.fixture
def api(box: Box) -> Iterator[Any]:
    settings = settings_for(URL, box)
    with pods.connected(settings, read_template(settings)) as connected:
        yield connected.probe.api


def test_nothing_is_lacking_where_all_is_allowed(api: Any) -> None:
    assert lacking(api, NS, 5) == []


@pytest.mark.parametrize("right", list(needed(NS)), ids=str)
def test_each_right_that_is_missing_is_named_with_the_command_that_asks_for_it(
    api: Any, box: Box, right: Right
) -> None:
    box.rule("rights", missing=[f"{right.verb} {right.resource}"])

    *missing, how = lacking(api, NS, 5)

    # A right may be needed in the namespace and in the whole cluster.
    assert f"the right to {right} ({right.question})" in missing
    assert len(missing) == sum(
        f"{other.verb} {other.resource}" == f"{right.verb} {right.resource}" for other in needed(NS)
    )
    assert how.startswith("deploy/chart")


def test_all_rights_that_are_missing_are_named_at_once(api: Any, box: Box) -> None:
    box.rule("rights", missing=[f"{right.verb} {right.resource}" for right in needed(NS)])

    *missing, _ = lacking(api, NS, 5)

    assert len(missing) == sum(map(len, (*IN_NAMESPACE.values(), *IN_CLUSTER.values())))


def test_a_right_is_asked_for_as_the_server_will_decide_on_it() -> None:
    in_pods, of_nodes = Right("create", "pods/exec", NS), Right("list", "nodes")

    assert in_pods.attributes == {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": NS}
    assert of_nodes.attributes == {"verb": "list", "resource": "nodes", "subresource": ""}
    assert Right("get", "namespaces", NS).attributes["name"] == NS


def test_a_namespace_that_is_not_there_is_named(api: Any) -> None:
    assert lacking(api, "nowhere", 5) == [
        "the namespace nowhere: kubectl create namespace nowhere, or set PGFLEET_NAMESPACE"
    ]


def test_a_server_that_lets_nobody_in_is_asked_once_and_named_with_its_address(api: Any, box: Box) -> None:
    box.fault("selfsubjectaccessreviews", status=401, times=10)

    (said,) = lacking(api, NS, 5)

    assert said.startswith(f"an answer of Kubernetes at {box.url}: ")
    assert "Kubernetes answered 401" in said
    assert box.state()["faults_left"] == 9


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "http://kubernetes.invalid"])
def test_an_address_where_nobody_answers_is_named(api: Any, server: str) -> None:
    api.api_client.configuration.host = server

    (said,) = lacking(api, NS, 5)

    assert said.startswith(f"an answer of Kubernetes at {server}: ")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/{usr}.keys", "keys/{user}", "httpx://127.0.0.1/{user}"],
)
def test_an_address_of_another_form_is_named(url: str) -> None:
    with ssh_keys.connected(settings_for(URL, ssh_keys_url=url)) as keys:
        (said,) = keys.lacking()

    assert isinstance(said, str)
    assert said.startswith(f"an answer of the SSH key server at {url}: ")
    assert "PGFLEET_SSH_KEYS_URL" in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/{user}.keys", "http://keys.invalid/{user}.keys"])
def test_a_key_server_that_is_away_is_an_outage(url: str) -> None:
    with ssh_keys.connected(settings_for(URL, ssh_keys_url=url)) as keys:
        (away,) = keys.lacking()

    assert isinstance(away, NotNowError)
    assert (away.dependency, away.calls) == ("ssh_keys", Calls.READ)


@pytest.mark.parametrize(("status", "lacks"), [(403, False), (404, False), (429, False), (500, True), (503, True)])
def test_a_key_server_that_knows_nobody_answers(box: Box, status: int, *, lacks: bool) -> None:
    box.fault("^/ssh-keys/", status=status)

    with ssh_keys.connected(settings_for(URL, box)) as keys:
        assert bool(keys.lacking()) is lacks


def test_a_key_server_that_answers_with_a_web_page_is_away(box: Box) -> None:
    box.fault("^/ssh-keys/", status=200, text="\n<html>Sign in</html>")

    with ssh_keys.connected(settings_for(URL, box)) as keys:
        (said,) = keys.lacking()

    assert isinstance(said, NotNowError)
    assert "answered with a web page" in str(said)
