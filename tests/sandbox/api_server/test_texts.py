"""The texts of Kubernetes that tests rely on are whole, and the official client reads them."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.kubernetes.refusals import REASONS
from worlds.outside.texts import names, text

MODELS: dict[str, Any] = {
    "pods": client.V1Pod,
    "nodes": client.V1Node,
    "services": client.V1Service,
    "events": client.CoreV1Event,
}


@pytest.mark.parametrize("path", [path for folder in MODELS for path in names(folder)])
def test_an_object_is_one_that_the_client_reads(path: str) -> None:
    model = MODELS[path.partition("/")[0]]

    read = model.model_validate(text(path))

    assert read.metadata.name
    assert read.metadata.uid


@pytest.mark.parametrize("path", names("refusals"))
def test_a_refusal_says_what_kind_of_refusal_it_is(path: str) -> None:
    status = text(path)

    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["code"] in REASONS
    assert status["message"]
