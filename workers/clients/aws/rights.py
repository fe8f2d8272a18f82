"""What a disk worker lacks at AWS: whether it is let in there, as far as that can be tried without doing anything.

Rights on a volume or snapshot can't be tried without one: a policy may ask for tags of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from pgfleet.workers.clients.aws.contents import Contents
from pgfleet.workers.clients.aws.ec2 import Ec2, dry_volume
from pgfleet.workers.clients.aws.session import UNREACHABLE, Service, nothing
from pgfleet.workers.runtime.outcomes import NeverError, NotNowError, TryAgainError

# Answers to a dry run that is not allowed; any other comes from a server that has found it allowed.
NOT_ALLOWED = frozenset({"UnauthorizedOperation", "AccessDenied"})
NO_BUCKET = frozenset({"404", "NoSuchBucket"})
LOOKS: dict[str, dict[str, Any]] = {"describe_volumes": {}, "describe_snapshots": {"OwnerIds": ["self"]}}
HOW_TO_GRANT = "deploy/chart/kinds/disk.yaml lists what the role's policy has to allow; see AWS_REGION, too"
TROUBLE = (NotNowError, TryAgainError, NeverError)


def lacking(ec2: Ec2, contents: Contents | None) -> list[str | NotNowError]:
    """What a worker lacks, in words, with what mends it; an error where AWS is away; empty if nothing."""
    found = [problem for method in LOOKS for problem in _looked(ec2, method)] or _made(ec2)
    refused = [problem for problem in found if isinstance(problem, str)]
    away = [problem for problem in found if isinstance(problem, NotNowError)][:1]
    return [*away, *refused, *([HOW_TO_GRANT] if refused else []), *([] if contents is None else _bucket(contents))]


def _looked(ec2: Ec2, method: str) -> Sequence[str | NotNowError]:
    try:
        # Without its guard: nobody's messages wait for this answer yet.
        Service(ec2.aws.signed, ec2.aws.name).ask(method, nothing, MaxResults=5, **LOOKS[method])
    except TROUBLE as error:
        if isinstance(error, NotNowError) and error.code == UNREACHABLE:
            return [error]
        return [f"an answer of EC2 in {ec2.region}: {error}"]
    return []


def _made(ec2: Ec2) -> list[str]:
    code = _refusal(lambda: ec2.aws.client.create_volume(**dry_volume(ec2.aws, ec2.fleet)))
    return [f"the right to ec2:CreateVolume with tags ({code})"] if code in NOT_ALLOWED else []


def _bucket(contents: Contents) -> list[str]:
    """Whoever may write there need not be allowed to look: only a bucket that is not there is told."""
    code = _refusal(lambda: contents.aws.client.head_bucket(Bucket=contents.bucket))
    return [f"the bucket {contents.bucket} (PGFLEET_CONTENTS_BUCKET)"] if code in NO_BUCKET else []


def _refusal(call: Callable[[], Any]) -> str:
    """The code of the refusal; empty for an answer, and for none: what is away now is noticed when it is called."""
    try:
        call()
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Code", ""))
    except (BotoCoreError, OSError):
        return ""
    return ""
