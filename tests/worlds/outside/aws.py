"""An AWS for tests: `aws_server, aws = aws_sandbox.aws_server, aws_sandbox.aws`, and the clients alike.

The server is one for a module; `aws` empties it for each test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfleet.console.sandbox import Aws, running_aws
from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.schema.settings import Settings, read_settings
from pgfleet.workers.clients.aws import contents as contents_client
from pgfleet.workers.clients.aws import ec2 as ec2_client

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = "us-east-2a"


@pytest.fixture(scope="module")
def aws_server() -> Iterator[Aws]:
    """AWS's own variables lead to it for as long as the module's tests run."""
    with running_aws() as running, pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"):
            patched.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patched.setenv(name, "/nonexistent")
        for name, value in running.environment.items():
            patched.setenv(name, value)
        yield running


@pytest.fixture
def aws(aws_server: Aws) -> Aws:
    aws_server.reset()
    return aws_server


@pytest.fixture(scope="module")
def ec2(aws_server: Aws) -> Iterator[ec2_client.Ec2]:
    with ec2_client.connected(aws_settings()) as connected:
        yield connected


@pytest.fixture(scope="module")
def contents(aws_server: Aws) -> Iterator[contents_client.Contents]:
    with contents_client.connected(aws_settings()) as connected:
        assert connected is not None
        yield connected


def aws_settings(aws_timeout_s: float = 20) -> Settings:
    return read_settings(aws_timeout_s=aws_timeout_s, contents_bucket=BUCKET)
