"""The listings of disks' contents, as objects of an S3 bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.aws.session import BucketGoneError, Service, nothing, service
from pgfleet.workers.runtime.outcomes import RefusedError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class Contents:
    """Errors are those of `aws.Service.ask`."""

    aws: Service
    bucket: str
    fleet: str = ""

    def put(self, key: str, text: str) -> str:
        """The object's `s3://bucket/key`; what was there under this key is replaced."""
        key = f"{self.fleet}/{key}" if self.fleet else key
        body = text.encode("utf-8", "replace")
        given = {"Bucket": self.bucket, "Key": key, "Body": body, "ContentType": "text/plain; charset=utf-8"}
        self.aws.ask("put_object", nothing, **given)
        return f"{SCHEME}{self.bucket}/{key}"

    def delete(self, url: str) -> None:
        """Delete an object of any bucket; one that is gone already is fine.

        Raises:
            RefusedError: the address is no `s3://bucket/key`, or as in `aws.Service.ask`.
        """
        bucket, _, key = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not bucket or not key:
            raise RefusedError("the address of a listing is no s3://bucket/key")
        try:
            self.aws.ask("delete_object", nothing, Bucket=bucket, Key=key)
        except BucketGoneError:
            return


@contextmanager
def connected(settings: Settings, breakers: Breakers | None = None) -> Iterator[Contents | None]:
    """None where no bucket is set: listings are then not kept."""
    if settings.contents_bucket is None:
        yield None
        return
    bucket = settings.contents_bucket
    with service("s3", settings, breakers, lambda aws, _calls: probe(aws, bucket)) as aws:
        yield Contents(aws, bucket, settings.fleet)


def probe(aws: Service, bucket: str) -> None:
    """Ask about nobody.

    Raises:
        NotNowError: that is not answered.
    """
    try:
        aws.ask("list_objects_v2", nothing, Bucket=bucket, MaxKeys=1)
    except (RefusedError, TryAgainError):
        return
