"""A page of a proxy instead of an answer of AWS: it says nothing of what was asked for."""

import pytest

from pgfleet.workers.clients.aws import ec2
from pgfleet.workers.clients.aws.session import nothing
from pgfleet.workers.runtime.outcomes import NotNowError
from worlds.fleet import settings_for
from worlds.network.hostile import hostile_server

PAGE = b"<html><head><title>Sign in</title></head><body>no</body></html>"
ASKED = {"describe_volumes": {}, "delete_volume": {"VolumeId": "vol-1"}, "create_snapshot": {"VolumeId": "vol-1"}}


@pytest.mark.parametrize("method", list(ASKED))
@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_a_page_of_somebody_between_is_no_answer_of_aws(
    monkeypatch: pytest.MonkeyPatch, status: int, method: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    head = f"HTTP/1.1 {status} Page\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n".encode()
    with hostile_server() as server:
        server.answer = lambda write, _closing: write(head + PAGE)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        settings = settings_for("postgresql:///none")
        with ec2.connected(settings, None) as cloud, pytest.raises(NotNowError):
            cloud.aws.ask(method, lambda a: a["Volumes"] if "describe" in method else nothing(a), **ASKED[method])
