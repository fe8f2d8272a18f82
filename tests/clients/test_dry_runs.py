"""What a disk worker looks for at AWS before it takes messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.workers.clients.aws.rights import HOW_TO_GRANT, lacking
from pgfleet.workers.runtime.outcomes import Calls, NotNowError
from worlds.outside import aws as aws_sandbox

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Aws
    from pgfleet.workers.clients.aws.contents import Contents
    from pgfleet.workers.clients.aws.ec2 import Ec2

aws_server, aws = aws_sandbox.aws_server, aws_sandbox.aws
ec2, contents = aws_sandbox.ec2, aws_sandbox.contents


@pytest.mark.usefixtures("aws")
def test_nothing_is_lacking_where_all_is_allowed_and_nothing_is_made(ec2: Ec2, contents: Contents) -> None:
    assert lacking(ec2, contents) == []
    assert list(ec2.volumes()) == []


@pytest.mark.usefixtures("aws")
def test_without_a_bucket_none_is_looked_for(ec2: Ec2) -> None:
    assert lacking(ec2, None) == []


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AuthFailure", "InvalidClientTokenId"])
def test_all_looks_that_aws_does_not_allow_are_named_with_the_region(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("Describe.*", status=403, code=code, times=2)

    volumes, snapshots, how = map(str, lacking(ec2, None))

    assert volumes.startswith("an answer of EC2 in us-east-2: ")
    assert "DescribeVolumes" in volumes
    assert "DescribeSnapshots" in snapshots
    assert code in volumes
    assert how == HOW_TO_GRANT


def test_the_right_to_make_a_volume_is_tried_by_a_dry_run(aws: Aws, ec2: Ec2) -> None:
    aws.fault("CreateVolume", status=403, code="UnauthorizedOperation")

    assert lacking(ec2, None) == ["the right to ec2:CreateVolume with tags (UnauthorizedOperation)", HOW_TO_GRANT]


@pytest.mark.parametrize("code", ["InvalidZone.NotFound", "RequestLimitExceeded", "VolumeLimitExceeded"])
def test_a_dry_run_that_fails_for_another_reason_lacks_no_right(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("CreateVolume", status=400, code=code)

    assert lacking(ec2, None) == []


def test_a_bucket_that_is_not_there_is_named(aws: Aws, ec2: Ec2, contents: Contents) -> None:
    aws.fault("HEAD /pgfleet-contents/?", status=404, code="NoSuchBucket")

    assert lacking(ec2, contents) == [f"the bucket {contents.bucket} (PGFLEET_CONTENTS_BUCKET)"]


def test_a_bucket_that_may_only_be_written_to_is_taken(aws: Aws, ec2: Ec2, contents: Contents) -> None:
    aws.fault("HEAD /pgfleet-contents/?", status=403, code="AccessDenied")

    assert lacking(ec2, contents) == []


@pytest.mark.parametrize("way", [{"drop": True}, {"status": 503}, {"status": 400, "code": "RequestLimitExceeded"}])
def test_no_answer_is_an_outage(aws: Aws, ec2: Ec2, way: dict[str, Any]) -> None:
    aws.fault("DescribeVolumes", **way)

    (away,) = lacking(ec2, None)

    assert isinstance(away, NotNowError)
    assert (away.dependency, away.calls, away.code) == ("aws.ec2", Calls.READ, "AWS_UNREACHABLE")
