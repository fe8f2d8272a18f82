"""The clients of EBS and S3 against the sandbox's AWS, and against servers that answer oddly."""

from __future__ import annotations

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.schema.errors import FleetError
from pgfleet.workers.clients.aws import contents as contents_client
from pgfleet.workers.clients.aws import ec2 as ec2_client
from pgfleet.workers.clients.aws import signing
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, SNAPSHOT
from pgfleet.workers.clients.aws.session import WAITS_S, ZONE_FULL, SnapshotGoneError, VolumeGoneError, ZoneFullError
from pgfleet.workers.clients.aws.states import NO_VOLUME
from pgfleet.workers.clients.aws.throttle import Throttle
from pgfleet.workers.clients.verdicts import CHANGING, CREDENTIALS, LIMITS, RIGHTS, THROTTLED
from pgfleet.workers.runtime.outcomes import Calls, NeverError, NoPlaceError, NotNowError, RefusedError, TryAgainError
from worlds.outside import aws as aws_sandbox
from worlds.outside.aws import ZONE, aws_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfleet.console.sandbox import Aws
    from pgfleet.workers.clients.aws.contents import Contents
    from pgfleet.workers.clients.aws.ec2 import Ec2
    from pgfleet.workers.clients.aws.states import VolumeState

aws_server, aws = aws_sandbox.aws_server, aws_sandbox.aws
ec2, contents = aws_sandbox.ec2, aws_sandbox.contents

# What AWS's texts may hold, and ours never do.
KEY_ID = "AKIAZZZZ7EXAMPLE"
OLD = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def made(ec2: Ec2) -> VolumeState:
    return ec2.create_volume("token-1", ZONE, 10, None, {DISK: "disk-1"})


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@dataclass
class Odd:
    """A server with one answer for everything, and a client that asks it."""

    ec2: Ec2
    status: int = 200
    body: bytes = b""
    length: int | None = None
    retry_after: str = ""


@pytest.fixture(scope="module")
def odd(aws_server: Aws) -> Iterator[Odd]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(told_to.status)
            if told_to.retry_after:
                self.send_header("Retry-After", told_to.retry_after)
            self.send_header("Content-Length", str(len(told_to.body) if told_to.length is None else told_to.length))
            self.end_headers()
            self.wfile.write(told_to.body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patched:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with ec2_client.connected(aws_settings()) as connected:
            told_to = Odd(connected)
            patched.undo()
            yield told_to
        server.shutdown()
        thread.join()


def test_a_volume_is_as_it_was_asked_for(aws: Aws, ec2: Ec2) -> None:
    volume = ec2.create_volume("token-1", ZONE, 12, None, {DISK: "disk-1", ATTACHMENT: "7"})

    found = ec2.volume(volume.volume_id)
    assert found is not None
    assert (found.state, found.zone, found.size_gb, found.attached_to) == ("available", ZONE, 12, ())
    assert found.tags == {DISK: "disk-1", ATTACHMENT: "7"}
    assert abs(found.age) < timedelta(minutes=1)


@pytest.mark.parametrize("ahead_s", [1200, -1200])
def test_ages_are_of_awss_own_clock(aws: Aws, ec2: Ec2, ahead_s: float) -> None:
    aws.put_clock_ahead(ahead_s)
    volume = made(ec2)

    aws.put_clock_ahead(600)
    found = ec2.volume(volume.volume_id)
    begun = ec2.create_snapshot(volume.volume_id, {DISK: "d"}, "")

    assert found is not None
    assert abs(found.age - timedelta(minutes=10)) < timedelta(minutes=1)
    assert abs(begun.age) < timedelta(minutes=1)


def test_the_same_token_twice_is_one_volume(aws: Aws, ec2: Ec2) -> None:
    assert made(ec2).volume_id == made(ec2).volume_id

    assert len(aws.state()["volumes"]) == 1


def test_a_token_for_something_else_is_refused(aws: Aws, ec2: Ec2) -> None:
    made(ec2)

    with pytest.raises(RefusedError, match="IdempotentParameterMismatch"):
        ec2.create_volume("token-1", ZONE, 11, None, {DISK: "disk-1"})


def test_a_volume_whose_creation_was_not_answered_is_found_by_its_token(aws: Aws, ec2: Ec2) -> None:
    aws.fault("CreateVolume", after=True, drop=True)
    with pytest.raises(NotNowError, match="did not answer CreateVolume"):
        made(ec2)

    volume = made(ec2)

    assert list(aws.state()["volumes"]) == [volume.volume_id]


def test_a_volume_that_aws_does_not_know_is_none(aws: Aws, ec2: Ec2) -> None:
    volume = made(ec2)
    aws.forget(volume.volume_id)

    assert ec2.volume(volume.volume_id) is None
    ec2.delete_volume(volume.volume_id)


@pytest.mark.parametrize("fault", [{"status": 503, "code": "Unavailable"}, {"status": 403, "code": "AuthFailure"}])
def test_an_error_is_no_word_on_whether_something_is_there(aws: Aws, ec2: Ec2, fault: dict[str, Any]) -> None:
    aws.fault("Describe.*", times=2, **fault)

    with pytest.raises(NotNowError):
        ec2.volume("vol-1")
    with pytest.raises(NotNowError):
        ec2.snapshot("snap-1")


def test_an_attached_volume_is_waited_for(aws: Aws, ec2: Ec2) -> None:
    volume = made(ec2)
    aws.attach(volume.volume_id, "i-7")

    with pytest.raises(TryAgainError, match="VolumeInUse") as waited:
        ec2.delete_volume(volume.volume_id)

    found = ec2.volume(volume.volume_id)
    assert waited.value.after_s == 30
    assert found is not None
    assert (found.state, found.attached_to) == ("in-use", ("i-7",))


def test_a_snapshot_tells_how_far_it_is_and_when_it_ended(aws: Aws, ec2: Ec2) -> None:
    aws.hold_snapshots(progress=40)
    begun = ec2.create_snapshot(made(ec2).volume_id, {SNAPSHOT: "s-1"}, "of a test")
    aws.set_progress(begun.ebs_snapshot_id, 55)
    on_its_way = ec2.snapshot(begun.ebs_snapshot_id)
    aws.complete_snapshots([begun.ebs_snapshot_id])

    ended = ec2.snapshot(begun.ebs_snapshot_id)

    assert on_its_way is not None
    assert ended is not None
    assert [(one.state, one.progress_percent) for one in (begun, on_its_way, ended)] == [
        ("pending", 40),
        ("pending", 55),
        ("completed", 100),
    ]
    assert on_its_way.completed_at is None
    assert ended.completed_at is not None
    assert ended.completed_at >= ended.started_at


def test_a_snapshot_that_failed_says_why(aws: Aws, ec2: Ec2) -> None:
    aws.hold_snapshots()
    begun = ec2.create_snapshot(made(ec2).volume_id, {SNAPSHOT: "s-1"}, "of a test")
    aws.fail_snapshots(message="the disk broke")

    failed = ec2.snapshot(begun.ebs_snapshot_id)

    assert failed is not None
    assert (failed.state, failed.message) == ("error", "the disk broke")


def test_no_volume_is_made_of_a_pending_snapshot(aws: Aws, ec2: Ec2) -> None:
    aws.hold_snapshots()
    begun = ec2.create_snapshot(made(ec2).volume_id, {SNAPSHOT: "s-1"}, "of a test")

    with pytest.raises(TryAgainError, match="IncorrectState") as waited:
        ec2.create_volume("token-2", ZONE, 10, begun.ebs_snapshot_id, {})

    assert waited.value.after_s is not None


def test_a_copy_has_its_own_id_and_tags_and_the_size_of_its_source(aws: Aws, ec2: Ec2) -> None:
    source = aws.make_snapshot({SNAPSHOT: "s-1"}, size_gb=33)

    copy = ec2.copy_snapshot(source, {SNAPSHOT: "s-2"}, "of a test")

    assert copy.ebs_snapshot_id != source
    assert (copy.state, copy.size_gb, copy.volume_id, copy.tags) == ("pending", 33, NO_VOLUME, {SNAPSHOT: "s-2"})
    assert aws.state()["snapshots"][copy.ebs_snapshot_id]["tags"] == {SNAPSHOT: "s-2"}


def test_what_a_snapshot_or_volume_is_to_be_made_of_may_be_gone(aws: Aws, ec2: Ec2) -> None:
    snapshot, volume = aws.make_snapshot(), aws.make_volume()
    aws.forget(snapshot)
    aws.forget(volume)

    with pytest.raises(SnapshotGoneError):
        ec2.create_volume("token-1", ZONE, 10, snapshot, {DISK: "disk-1"})
    with pytest.raises(SnapshotGoneError):
        ec2.copy_snapshot(snapshot, {}, "of a test")
    with pytest.raises(VolumeGoneError):
        ec2.create_snapshot(volume, {}, "of a test")
    with pytest.raises(VolumeGoneError):
        ec2.tag(volume, {DISK: "disk-1"})


def test_snapshots_of_a_tag_come_oldest_first_and_only_ours(aws: Aws, ec2: Ec2) -> None:
    days = (2, 0, 1)
    ids = [aws.make_snapshot({SNAPSHOT: "s-1"}, started_at=OLD + timedelta(days=day)) for day in days]
    aws.make_snapshot({SNAPSHOT: "s-2"})
    aws.make_snapshot({SNAPSHOT: "s-1"}, owner_id="999999999999")

    found = ec2.snapshots_tagged(SNAPSHOT, "s-1")

    assert [one.ebs_snapshot_id for one in found] == [ids[1], ids[2], ids[0]]
    assert found[0].started_at == OLD
    assert ec2.snapshots_tagged(SNAPSHOT, "s-*") == []


def test_a_snapshot_that_is_deleted_or_gone_is_none(aws: Aws, ec2: Ec2) -> None:
    snapshot = aws.make_snapshot()

    ec2.delete_snapshot(snapshot)
    ec2.delete_snapshot(snapshot)

    assert ec2.snapshot(snapshot) is None


def test_a_snapshot_that_an_image_uses_is_waited_for_in_awss_words(aws: Aws, ec2: Ec2) -> None:
    snapshot = aws.make_snapshot()
    aws.refuse_deletes(snapshot)

    with pytest.raises(TryAgainError, match="in use by ami-") as waited:
        ec2.delete_snapshot(snapshot)

    assert waited.value.after_s == 60


def test_listings_come_page_by_page_and_hold_what_has_a_disks_tag(
    aws: Aws, ec2: Ec2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_client, "VOLUME_PAGE", 5)
    monkeypatch.setattr(ec2_client, "SNAPSHOT_PAGE", 5)
    tagged = [{"tags": {DISK: f"disk-{number}"}} for number in range(12)]
    ids = aws.populate([*tagged, {"tags": {"other": "1"}}], [*tagged, {"tags": {DISK: "x"}, "owner_id": "9" * 12}])

    volumes = ec2.volumes()
    first = next(volumes)
    asked = aws.requests("DescribeVolumes")

    assert asked == 1
    assert [first.volume_id, *(volume.volume_id for volume in volumes)] == ids["volumes"][:12]
    assert [snapshot.ebs_snapshot_id for snapshot in ec2.snapshots()] == ids["snapshots"][:12]
    assert (aws.requests("DescribeVolumes"), aws.requests("DescribeSnapshots")) == (3, 3)


def test_a_listing_that_breaks_off_does_not_end_as_if_it_were_complete(
    aws: Aws, ec2: Ec2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_client, "VOLUME_PAGE", 5)
    aws.populate([{"tags": {DISK: "disk-1"}}] * 7)
    volumes = ec2.volumes()
    next(volumes)
    aws.fault("DescribeVolumes", code="InternalError")

    with pytest.raises(NotNowError):
        list(volumes)


def test_tags_are_added_to_those_there_are(aws: Aws, ec2: Ec2) -> None:
    volume = made(ec2)

    ec2.tag(volume.volume_id, {ATTACHMENT: "8"})

    assert aws.state()["volumes"][volume.volume_id]["tags"] == {DISK: "disk-1", ATTACHMENT: "8"}


@pytest.mark.parametrize("code", sorted(CHANGING))
def test_what_is_about_to_change_is_no_failed_attempt(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("CreateSnapshot", status=400, code=code, message="so said AWS")

    with pytest.raises(TryAgainError, match=f"CreateSnapshot with {code}: so said AWS") as waited:
        ec2.create_snapshot("vol-1", {SNAPSHOT: "s-1"}, "of a test")

    assert waited.value.after_s == WAITS_S[code]


@pytest.mark.parametrize("code", sorted(LIMITS - ZONE_FULL))
def test_a_limit_of_the_account_is_nobodys_fault(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("CreateSnapshot", status=400, code=code, message="so said AWS")

    with pytest.raises(NoPlaceError, match=f"CreateSnapshot with {code}: so said AWS") as full:
        ec2.create_snapshot("vol-1", {SNAPSHOT: "s-1"}, "of a test")

    assert full.value.code == "QUOTA"


@pytest.mark.parametrize("code", sorted(ZONE_FULL))
def test_another_zone_may_have_what_this_one_has_not(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("CreateVolume", status=400, code=code, message="so said AWS")

    with pytest.raises(ZoneFullError, match=code):
        made(ec2)


@pytest.mark.parametrize("code", sorted(THROTTLED))
def test_aws_that_asks_us_to_wait_is_in_trouble_itself(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("CreateSnapshot", status=503, code=code, message="so said AWS")

    with pytest.raises(NotNowError, match=f"CreateSnapshot with {code}: so said AWS") as busy:
        ec2.create_snapshot("vol-1", {SNAPSHOT: "s-1"}, "of a test")

    assert (busy.value.code, busy.value.dependency, busy.value.calls) == ("AWS_UNREACHABLE", "aws.ec2", "make")
    assert busy.value.after_s is not None


def test_who_asks_too_often_pauses_for_seconds_then_longer_and_shortly_again_after_an_answer() -> None:
    now = 1000.0
    throttle = Throttle(lambda: now)
    pauses = []
    for _ in range(6):
        pauses.append(throttle.pause_s(Calls.MAKE))
        now += pauses[-1]

    throttle.answered(Calls.MAKE)

    assert pauses == [5, 10, 20, 40, 60, 60]
    assert throttle.pause_s(Calls.MAKE) == 5
    assert throttle.pause_s(Calls.READ) == 5


def test_many_calls_that_are_throttled_at_once_are_one_pause() -> None:
    now = 1000.0
    throttle = Throttle(lambda: now)

    first = throttle.pause_s(Calls.MAKE)
    now += 1

    assert [first, throttle.pause_s(Calls.MAKE), throttle.pause_s(Calls.MAKE)] == [5, 4, 4]


def test_aws_is_left_alone_for_as_long_as_it_asks(odd: Odd) -> None:
    odd.status, odd.retry_after = 503, "7"
    odd.body = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>"

    with pytest.raises(NotNowError) as busy:
        odd.ec2.volume("vol-1")

    odd.retry_after = ""
    assert busy.value.after_s == 7


@pytest.mark.parametrize("code", sorted((CREDENTIALS | RIGHTS) - {"no credentials"}))
def test_credentials_that_aws_does_not_take_are_the_operators_and_not_told(aws: Aws, ec2: Ec2, code: str) -> None:
    aws.fault("DeleteVolume", status=403, code=code, message=f"the key {KEY_ID}")

    with pytest.raises(NotNowError, match=f"the operator has to .* DeleteVolume: {code}$") as refused:
        ec2.delete_volume("vol-1")

    assert refused.value.code == "AWS_REFUSES"
    assert KEY_ID not in told(refused.value)


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "Unavailable"), (400, "RequestTimeout")])
def test_a_server_that_fails_is_in_trouble(aws: Aws, ec2: Ec2, status: int, code: str) -> None:
    aws.fault("DeleteVolume", status=status, code=code, message=KEY_ID)

    with pytest.raises(NotNowError, match=f"DeleteVolume with {code}") as again:
        ec2.delete_volume("vol-1")

    assert again.value.code == "AWS_UNREACHABLE"
    assert KEY_ID not in told(again.value)


def test_any_other_answer_is_a_no_in_one_short_line(aws: Aws, ec2: Ec2) -> None:
    aws.fault("DeleteVolume", status=400, code="InvalidParameterValue", message="no\n\x9b31m" + "x" * 1000)

    with pytest.raises(RefusedError, match="InvalidParameterValue: no 31mx") as refused:
        ec2.delete_volume("vol-1")

    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


def test_a_call_ends_with_its_time(aws: Aws) -> None:
    aws.fault("DescribeVolumes", status=None, latency_s=60)

    with (
        ec2_client.connected(aws_settings(aws_timeout_s=0.2)) as hasty,
        pytest.raises(NotNowError, match="did not answer DescribeVolumes: ReadTimeoutError"),
    ):
        hasty.volume("vol-1")

    assert aws.requests("DescribeVolumes") == 1


@pytest.mark.parametrize(
    ("status", "body", "length"),
    [
        (200, b"<html><body>a proxy's page</body></html>", None),
        (200, b"<DescribeVolumesResponse/>", None),
        (200, b"", None),
        (200, b"not XML", None),
        (200, b"<DescribeVolumesResponse><volumeSet/>", 4096),
        (403, b"<html><body>a proxy's page", None),
        (502, b"<html><body>a proxy's page</body></html>", None),
    ],
)
def test_half_an_answer_or_a_strangers_is_never_an_empty_listing(
    odd: Odd, status: int, body: bytes, length: int | None
) -> None:
    odd.status, odd.body, odd.length = status, body, length

    with pytest.raises(NotNowError) as again:
        list(odd.ec2.volumes())

    assert "proxy" not in told(again.value)


def test_an_answer_that_speaks_of_another_volume_is_none_about_ours(odd: Odd) -> None:
    empty = b"<DescribeVolumesResponse><requestId>1</requestId><volumeSet/></DescribeVolumesResponse>"
    odd.status, odd.body, odd.length = 200, empty, None

    with pytest.raises(TryAgainError, match="does not speak of vol-1"):
        odd.ec2.volume("vol-1")


def test_nobody_there_is_no_failed_attempt(aws_server: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with (
        ec2_client.connected(aws_settings()) as ec2,
        pytest.raises(NotNowError, match="DescribeVolumes: EndpointConnectionError"),
    ):
        ec2.volume("vol-1")


def test_no_credentials_are_waited_for(aws_server: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with ec2_client.connected(aws_settings()) as ec2, pytest.raises(NotNowError, match="NoCredentials") as waited:
        ec2.volume("vol-1")

    assert waited.value.code == "AWS_REFUSES"


def written(file: Path, key_id: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = secret\n", "utf-8")


@pytest.fixture
def in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where credentials are looked for, and are not yet."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "credentials"


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "AuthFailure"])
def test_credentials_that_were_replaced_in_their_file_are_read_when_the_old_ones_are_refused(
    aws: Aws, in_a_file: Path, code: str
) -> None:
    written(in_a_file, "AKIAOLD")
    with ec2_client.connected(aws_settings()) as ec2:
        assert ec2.volume("vol-0123456789abcdef0") is None
        written(in_a_file, "AKIANEW")
        aws.fault("DescribeVolumes", times=1, status=403, code=code)

        assert ec2.volume("vol-0123456789abcdef0") is None

        aws.fault("DescribeVolumes", times=1, status=403, code=code)
        with pytest.raises(NotNowError, match=code):  # these are the newest that there are
            ec2.volume("vol-0123456789abcdef0")
    assert aws.requests("DescribeVolumes") == 4


def test_credentials_that_come_after_the_start_are_found(
    aws: Aws, in_a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "LOOK_AGAIN_S", 0)
    with ec2_client.connected(aws_settings()) as ec2:
        with pytest.raises(NotNowError, match="NoCredentials"):
            ec2.volume("vol-0123456789abcdef0")
        in_a_file.write_text("[default\nhalf", "utf-8")
        with pytest.raises(NotNowError, match="NoCredentials"):
            ec2.volume("vol-0123456789abcdef0")

        written(in_a_file, "AKIANEW")

        assert ec2.volume("vol-0123456789abcdef0") is None


@pytest.mark.parametrize("token", [KEY_ID, None])
def test_a_web_identity_that_aws_does_not_take_is_waited_for(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str | None
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pgfleet")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    if token is not None:
        (tmp_path / "token").write_text(token)
    aws.fault("AssumeRoleWithWebIdentity", status=400, code="InvalidIdentityToken", message=KEY_ID)

    with ec2_client.connected(aws_settings()) as ec2, pytest.raises(NotNowError, match="did not let us") as waited:
        ec2.volume("vol-1")

    assert waited.value.code == "AWS_REFUSES"
    assert KEY_ID not in told(waited.value)
    assert aws.requests("DescribeVolumes") == 0


def test_without_a_region_it_is_said_what_to_set(aws_server: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(FleetError, match="set AWS_REGION"), ec2_client.connected(aws_settings()):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PROFILE", "nobody"), ("AWS_ENDPOINT_URL", "no address"), ("AWS_CA_BUNDLE", "/nowhere/ca.pem")],
)
def test_aws_settings_that_cannot_be_used_are_said_at_start(
    aws_server: Aws, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(FleetError, match="AWS's settings can't be used"), ec2_client.connected(aws_settings()):
        pass


def test_threads_share_one_client(aws: Aws, ec2: Ec2) -> None:
    ids = aws.populate([{"size_gb": size} for size in range(1, 17)])["volumes"]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ec2.volume, ids))

    assert [volume.size_gb for volume in found if volume] == list(range(1, 17))


def test_a_listing_is_kept_as_an_object_and_deleted_by_its_address(aws: Aws, contents: Contents) -> None:
    url = contents.put("disks/a b#1/größe.txt", "4.0K\t/home/dev/ü\n")
    assert url == "s3://pgfleet-contents/disks/a b#1/größe.txt"
    assert aws.state()["objects"] == {"pgfleet-contents/disks/a b#1/größe.txt": "4.0K\t/home/dev/ü\n"}

    contents.delete(url)
    contents.delete(url)

    assert aws.state()["objects"] == {}


def test_an_object_of_a_bucket_that_is_gone_is_gone(aws: Aws, contents: Contents) -> None:
    contents.delete("s3://another-bucket/disks/1.txt")


@pytest.mark.parametrize("url", ["https://example.org/x", "s3://bucket", "s3:///key", ""])
def test_an_address_that_is_none_of_s3s_is_refused(aws: Aws, contents: Contents, url: str) -> None:
    with pytest.raises(NeverError):
        contents.delete(url)

    assert aws.state()["log"] == []


def test_s3s_errors_are_told_like_ec2s(aws: Aws, contents: Contents) -> None:
    aws.fault("PUT .*", status=503, code="SlowDown")
    with pytest.raises(NotNowError) as waited:
        contents.put("1.txt", "")
    aws.fault("PUT .*", status=403, code="AccessDenied", message=KEY_ID)
    with pytest.raises(NotNowError) as denied:
        contents.put("1.txt", "")

    assert (waited.value.code, denied.value.code) == ("AWS_UNREACHABLE", "AWS_REFUSES")
    assert KEY_ID not in told(denied.value)


def test_without_a_bucket_there_are_no_listings(aws_server: Aws) -> None:
    settings = aws_settings().model_copy(update={"contents_bucket": None})

    with contents_client.connected(settings) as contents:
        assert contents is None
