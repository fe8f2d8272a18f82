"""What tests can make the sandbox's AWS do, seen by boto3 as AWS's users see it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError  # type: ignore[import-untyped]

from pgfleet.console import sandbox
from pgfleet.console.sandbox import running_aws
from pgfleet.console.sandbox.aws.handle import BUCKET
from pgfleet.workers.clients.aws import ec2 as ec2_client
from worlds.outside import aws as aws_sandbox
from worlds.outside.aws import ZONE, aws_settings

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Aws
    from pgfleet.workers.clients.aws.contents import Contents
    from pgfleet.workers.clients.aws.ec2 import Ec2

aws_server, aws = aws_sandbox.aws_server, aws_sandbox.aws
ec2, contents = aws_sandbox.ec2, aws_sandbox.contents

TAGS = {"a": "1"}


@pytest.fixture
def boto(aws: Aws, ec2: Ec2) -> Any:
    return ec2.aws.client


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def tagged(boto: Any, **tags: str) -> list[str]:
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
    return [found["SnapshotId"] for found in boto.describe_snapshots(Filters=filters)["Snapshots"]]


def test_importing_the_sandbox_does_not_import_moto() -> None:
    look = "import sys, pgfleet.console.sandbox.__main__; print('moto' in sys.modules, 'boto3' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout

    assert said == "False False\n"


def test_a_sandbox_of_its_own_process_has_an_aws_if_asked() -> None:
    with sandbox.spawned(aws=True) as box:
        made = box.aws.make_volume(tags=TAGS)

        assert box.aws.state()["volumes"][made]["tags"] == TAGS
        assert box.aws_environment["AWS_ENDPOINT_URL"] == box.aws_url


def test_a_sandbox_without_an_aws_says_so() -> None:
    box = sandbox.Box("http://127.0.0.1:1", "/nowhere")

    assert box.aws_environment == {}
    with pytest.raises(ValueError, match="has no AWS"):
        _ = box.aws


def test_a_switch_that_cannot_be_turned_is_refused_with_words(aws: Aws) -> None:
    with pytest.raises(ValueError, match="InvalidVolume"):
        aws.attach("vol-1")
    with pytest.raises(ValueError, match="no regular expression"):
        aws.fault("(")
    with pytest.raises(ValueError, match="unexpected keyword"):
        aws.fault("CreateVolume", colour="red")
    with pytest.raises(ValueError, match="a snapshot has no"):
        aws.make_snapshot(colour="red")


def test_a_fault_comes_so_often_as_ordered_and_before_the_deed(aws: Aws, boto: Any) -> None:
    volume = aws.make_volume()
    aws.fault("DeleteVolume", times=2, status=500, code="InternalError")

    codes = []
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            boto.delete_volume(VolumeId=volume)
        codes.append(code_of(error))
    there = list(aws.state()["volumes"])
    boto.delete_volume(VolumeId=volume)

    assert codes == ["InternalError", "InternalError"]
    assert there == [volume]
    assert aws.state()["volumes"] == {}


@pytest.mark.parametrize("how", [{"drop": True}, {"status": 500}])
def test_a_fault_after_the_deed_is_one_whose_deed_was_done(aws: Aws, boto: Any, how: dict[str, Any]) -> None:
    volume = aws.make_volume()
    aws.fault("CreateSnapshot", after=True, **how)

    with pytest.raises((ClientError, HTTPClientError)):
        boto.create_snapshot(VolumeId=volume)

    assert [one["volume"] for one in aws.state()["snapshots"].values()] == [volume]


def test_a_fault_may_be_of_s3(aws: Aws, contents: Contents) -> None:
    boto = contents.aws.client
    aws.fault(f"PUT /{BUCKET}/disks/.*", status=503, code="SlowDown")
    boto.put_object(Bucket=BUCKET, Key="other", Body=b"1")

    with pytest.raises(ClientError) as error:
        boto.put_object(Bucket=BUCKET, Key="disks/1", Body=b"1")

    assert code_of(error) == "SlowDown"
    assert aws.state()["objects"] == {f"{BUCKET}/other": "1"}
    assert aws.requests("PUT") == 2


def test_faults_that_are_cleared_do_not_come(aws: Aws, boto: Any) -> None:
    aws.fault(".*", times=9)
    aws.clear_faults()

    boto.describe_volumes()

    assert aws.state()["faults_left"] == 0


def test_held_snapshots_stay_as_far_as_they_are_told(aws: Aws, boto: Any) -> None:
    aws.hold_snapshots(progress=10)
    volume = aws.make_volume()
    ids = [boto.create_snapshot(VolumeId=volume)["SnapshotId"] for _ in range(3)]
    aws.set_progress(ids[0], 20)
    aws.complete_snapshots([ids[1]])
    aws.hold_snapshots(None)
    ids.append(boto.create_snapshot(VolumeId=volume)["SnapshotId"])

    states = aws.state()["snapshots"]

    assert [(states[one]["state"], states[one]["progress"]) for one in ids] == [
        ("pending", 20),
        ("completed", 100),
        ("pending", 10),
        ("completed", 100),
    ]


def test_held_volumes_are_creating_and_nothing_can_be_done_with_them(aws: Aws, boto: Any) -> None:
    aws.hold_volumes()
    volume = boto.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]

    with pytest.raises(ClientError) as error:
        boto.create_snapshot(VolumeId=volume)
    held = boto.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"]
    aws.complete_volumes()

    assert (code_of(error), held) == ("IncorrectState", "creating")
    assert boto.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available"


def test_snapshots_that_take_their_time_complete_by_themselves(aws_server: Aws) -> None:
    with running_aws(snapshot_s=60) as aws, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", aws.url)
        with ec2_client.connected(aws_settings()) as ec2:
            begun = ec2.create_snapshot(aws.make_volume(), TAGS, "")

            assert (begun.state, begun.progress_percent) == ("pending", 0)


def test_an_attached_volume_is_in_use_until_it_is_detached(aws: Aws, boto: Any) -> None:
    volume = aws.make_volume()
    aws.attach(volume, "i-9")

    with pytest.raises(ClientError) as error:
        boto.delete_volume(VolumeId=volume)
    attached = aws.state()["volumes"][volume]
    aws.detach(volume)
    boto.delete_volume(VolumeId=volume)

    assert code_of(error) == "VolumeInUse"
    assert (attached["state"], attached["attached_to"]) == ("in-use", "i-9")


def test_a_blind_search_by_tag_does_not_see_what_was_just_made(aws: Aws, boto: Any) -> None:
    old = aws.make_snapshot(TAGS)
    aws.blind(seconds=60)
    new = aws.make_snapshot(TAGS)

    searches = [tagged(boto, **TAGS) for _ in range(2)]
    by_id = boto.describe_snapshots(SnapshotIds=[new])["Snapshots"]

    assert searches == [[old], [old]]
    assert len(by_id) == 1


def test_blindness_for_a_time_ends_when_told(aws: Aws, boto: Any) -> None:
    aws.blind(seconds=60)
    new = aws.make_snapshot(TAGS)
    before = tagged(boto, **TAGS)

    aws.blind()

    assert (before, tagged(boto, **TAGS)) == ([], [new])


def test_a_snapshot_whose_deletion_is_refused_stays(aws: Aws, boto: Any) -> None:
    snapshot = aws.make_snapshot()
    aws.refuse_deletes(snapshot)

    with pytest.raises(ClientError) as error:
        boto.delete_snapshot(SnapshotId=snapshot)
    aws.refuse_deletes(snapshot, refused=False)
    boto.delete_snapshot(SnapshotId=snapshot)

    assert code_of(error) == "InvalidSnapshot.InUse"


def test_a_token_answers_with_its_volume_even_after_that_is_deleted(aws: Aws, boto: Any) -> None:
    wanted = {"AvailabilityZone": ZONE, "Size": 1, "ClientToken": "t"}
    first = boto.create_volume(**wanted)["VolumeId"]
    boto.delete_volume(VolumeId=first)

    assert boto.create_volume(**wanted)["VolumeId"] == first
    assert aws.state()["volumes"] == {}


def test_a_token_of_a_refused_request_is_free(aws: Aws, boto: Any) -> None:
    with pytest.raises(ClientError):
        boto.create_volume(AvailabilityZone="us-east-2z", Size=1, ClientToken="t")

    assert boto.create_volume(AvailabilityZone=ZONE, Size=1, ClientToken="t")["VolumeId"]


def test_a_volume_is_no_smaller_than_its_snapshot(aws: Aws, boto: Any) -> None:
    snapshot = aws.make_snapshot(size_gb=10)

    with pytest.raises(ClientError) as error:
        boto.create_volume(AvailabilityZone=ZONE, Size=9, SnapshotId=snapshot)

    assert code_of(error) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"tag-key": ["a"]}, ["one", "two"]),
        ({"tag:a": ["1"]}, ["one"]),
        ({"tag:a": ["1", "2"]}, ["one", "two"]),
        ({"tag-key": ["a"], "tag:b": ["3"]}, ["two"]),
    ],
)
def test_filters_are_awss(aws: Aws, boto: Any, filters: dict[str, list[str]], found: list[str]) -> None:
    ids = {
        aws.make_snapshot({"a": "1"}, volume_id="vol-1"): "one",
        aws.make_snapshot({"a": "2", "b": "3"}): "two",
        aws.make_snapshot(status="pending"): "three",
    }

    listed = boto.describe_snapshots(Filters=[{"Name": name, "Values": values} for name, values in filters.items()])

    assert [ids[one["SnapshotId"]] for one in listed["Snapshots"]] == found


def test_pages_leave_out_what_was_deleted_and_miss_nothing_else(aws: Aws, boto: Any) -> None:
    ids = aws.populate(snapshots=[{}] * 12)["snapshots"]
    first = boto.describe_snapshots(MaxResults=5)
    aws.forget(ids[0])
    aws.forget(ids[6])

    second = boto.describe_snapshots(MaxResults=5, NextToken=first["NextToken"])
    third = boto.describe_snapshots(MaxResults=5, NextToken=second["NextToken"])

    pages = [[one["SnapshotId"] for one in page["Snapshots"]] for page in (first, second, third)]
    assert pages == [ids[:5], [ids[5], *ids[7:10]], ids[10:]]
    assert "NextToken" not in third


def test_a_page_token_that_is_none_of_ours_is_refused(aws: Aws, boto: Any) -> None:
    with pytest.raises(ClientError) as error:
        boto.describe_volumes(MaxResults=5, NextToken="x")

    assert code_of(error) == "InvalidParameterValue"


def test_the_log_has_every_request_and_what_it_was_about(aws: Aws, boto: Any) -> None:
    volume = aws.make_volume()
    boto.describe_volumes(VolumeIds=[volume])
    boto.delete_volume(VolumeId=volume)

    state = aws.state()

    assert state["log"] == [["DescribeVolumes", volume], ["DeleteVolume", volume]]
    assert state["requests"] == {"DescribeVolumes": 1, "DeleteVolume": 1}


def test_after_a_reset_all_is_as_at_the_start(aws: Aws, boto: Any, contents: Contents) -> None:
    before = aws.state()
    boto.create_volume(AvailabilityZone=ZONE, Size=1, ClientToken="t", TagSpecifications=[])
    aws.make_snapshot(TAGS)
    contents.put("1", "1")
    aws.hold_snapshots()
    aws.fault("CreateVolume")

    aws.reset()

    assert aws.state() == before
    assert tagged(boto, **TAGS) == []
    contents.put("1", "1")
