"""Whose trouble an answer is: every line of the table, through the real clients and over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.workers.clients import ssh_keys
from pgfleet.workers.clients.kubernetes import pods as kubernetes
from pgfleet.workers.clients.kubernetes.guarded import ContestedError, ForbiddenError
from pgfleet.workers.clients.kubernetes.plain import plain_service
from pgfleet.workers.clients.kubernetes.template.reading import read_template
from pgfleet.workers.clients.verdicts import (
    EXISTS,
    KUBERNETES,
    LINES,
    NO_ANSWER,
    NO_DRY_RUN,
    NO_PROBE,
    NO_SENSE,
    QUOTA,
    REFUSED,
    SSH_KEYS,
    Line,
    Verdict,
)
from pgfleet.workers.runtime.outcomes import Calls, NeverError, NoPlaceError, NotNowError, TryAgainError
from worlds.fleet import settings_for

DSN = "postgresql://nobody@localhost/none"
METHODS = {Calls.READ: "GET", Calls.MAKE: "POST", Calls.DELETE: "DELETE"}
ERRORS: dict[Verdict, type[Exception]] = {
    Verdict.NEVER: NeverError,
    Verdict.AGAIN: TryAgainError,
    Verdict.PLACE: NoPlaceError,
    Verdict.HOLD: NotNowError,
    Verdict.OUT: NotNowError,
    Verdict.ASK: NotNowError,
    # Nobody is asked here, so nothing says that it would be refused to everybody.
    Verdict.ASK_ROW: ForbiddenError,
    Verdict.ASK_MAYBE: ContestedError,
}

Case = tuple[Line, Calls, str]


def cases(dependency: str) -> list[Case]:
    """Each answer of each line to each of its calls; an earlier line takes an answer from the later ones."""
    lines = [line for line in LINES if line.dependency == dependency]
    return [
        (line, calls, answer)
        for number, line in enumerate(lines)
        for calls in sorted(line.calls)
        for answer in sorted({*line.answers} - {NO_PROBE})
        if not any(calls in before.calls and answer in before.answers for before in lines[:number])
    ]


def named(case: Any) -> str:
    line, calls, answer = case
    return f"{calls}-{answer}-{line.verdict.name}"


def fault(answer: str) -> dict[str, Any]:
    """What the server does, for an answer as the table names it."""
    if answer == NO_ANSWER:
        return {"drop": True}
    if answer == NO_SENSE:
        return {"status": 200, "text": "<html>Sign in</html>"}
    if answer == QUOTA:
        return {"status": 403, "message": 'pods "x" is forbidden: exceeded quota: gpus'}
    if answer == EXISTS:
        return {"status": 409, "reason": "AlreadyExists"}
    if answer == NO_DRY_RUN:
        return {"status": 400, "message": 'admission webhook "x" does not support dry run'}
    return {"status": {"5xx": 503, REFUSED: 418}.get(answer) or int(answer)}


@contextmanager
def pods_of(box: Box) -> Iterator[kubernetes.Pods]:
    settings = settings_for(DSN, box)
    with kubernetes.connected(settings, read_template(settings)) as connected:
        yield connected


def ask(pods: kubernetes.Pods, calls: Calls) -> Any:
    service = plain_service("gpu-dev")
    service["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]
    asked: dict[Calls, Callable[[], Any]] = {
        Calls.READ: lambda: pods.services("x", "r"),
        Calls.MAKE: lambda: pods.create_service(service),
        Calls.DELETE: lambda: pods.delete_service("x"),
    }
    return asked[calls]()


@pytest.mark.parametrize("case", cases(KUBERNETES), ids=named)
def test_each_answer_of_kubernetes_is_whose_the_table_says(box: Box, case: Case) -> None:
    line, calls, answer = case
    box.fault("/services", method=METHODS[calls], **fault(answer))

    with pods_of(box) as pods:
        if (calls, answer) == (Calls.DELETE, "404"):
            ask(pods, calls)  # what is gone is gone
            return
        with pytest.raises(ERRORS[line.verdict]) as raised:
            ask(pods, calls)

    if isinstance(raised.value, NotNowError):
        assert (raised.value.dependency, raised.value.calls) == (KUBERNETES, calls)
        assert raised.value.code == "KUBERNETES_UNREACHABLE"
        assert ("the operator has to" in str(raised.value)) == (
            answer in ("401", "403") or (calls, answer) == (Calls.MAKE, "5xx")
        )


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
@pytest.mark.parametrize("path", ["persistentvolumes", "namespaces/gpu-dev/secrets"])
def test_what_only_the_program_writes_is_held_whoever_refuses_it(box: Box, path: str, status: int) -> None:
    box.fault(f"/{path.rpartition('/')[2]}$", method="POST", status=status)
    box.fault(f"/{path.rpartition('/')[2]}$", method="GET", status=status)

    with pods_of(box) as pods, pytest.raises(NotNowError, match="the operator has to let this worker make"):
        pods.api.api_client.call_api("POST", f"{pods.api.api_client.configuration.host}/api/v1/{path}", body={})


@pytest.mark.parametrize("status", [200, 302, 400, 402, 403, 404, 405, 407, 409, 410, 413, 415, 421, 422, 451])
@pytest.mark.parametrize("calls", list(METHODS))
def test_a_page_of_somebody_between_is_no_answer_of_kubernetes(box: Box, status: int, calls: Calls) -> None:
    box.fault("/services", method=METHODS[calls], status=status, text="<html>no</html>")

    with pods_of(box) as pods, pytest.raises(NotNowError, match=f"not Kubernetes answered.* {status}"):
        ask(pods, calls)


def test_how_long_we_are_to_wait_is_taken_where_it_is_said(box: Box) -> None:
    box.fault("/services", method="GET", status=429, retry_after=7)
    box.fault("/services", method="GET", status=429)

    with pods_of(box) as pods:
        with pytest.raises(NotNowError) as said:
            pods.services("x", "r")
        with pytest.raises(NotNowError) as unsaid:
            pods.services("x", "r")

    assert (said.value.after_s, unsaid.value.after_s) == (7, None)


@pytest.mark.parametrize("case", cases(SSH_KEYS), ids=named)
def test_each_answer_of_the_server_of_ssh_keys_is_whose_the_table_says(box: Box, case: Case) -> None:
    line, _, answer = case
    box.fault("/ssh-keys/", times=2, **fault(answer))

    expected = NeverError if line.verdict is Verdict.ASK_ROW else ERRORS[line.verdict]
    with ssh_keys.connected(settings_for(DSN, box)) as keys, pytest.raises(expected) as raised:
        keys.of("ada")

    if isinstance(raised.value, NotNowError):
        assert (raised.value.dependency, raised.value.code) == (SSH_KEYS, "SSH_KEYS_UNREACHABLE")
