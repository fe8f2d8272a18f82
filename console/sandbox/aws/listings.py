"""DescribeVolumes and DescribeSnapshots page by page, which moto does not do: filters, pages, AWS's XML.

A listing is made once and its pages are cut from it, so that many thousands of snapshots can be listed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from moto.ec2.models.elastic_block_store import Snapshot, Volume

    from pgfleet.console.sandbox.aws.ebs import Ebs
    from pgfleet.console.sandbox.aws.requests import Asked

LARGEST_PAGE = 1000
MOST_LISTINGS = 100


@dataclass(slots=True)
class Listings:
    ebs: Ebs
    kept: dict[str, list[str]]  # the ids of the pages to come, by token

    def volumes(self, asked: Asked) -> str:
        there: Mapping[str, Volume] = self.ebs.volumes
        ids, token = self._page(asked, there, "volume", asked.listed("VolumeId"))
        return _answer(asked.name, "volumeSet", (self.volume(there[found]) for found in ids), token)

    def snapshots(self, asked: Asked) -> str:
        there: Mapping[str, Snapshot] = self.ebs.snapshots
        ids, token = self._page(asked, there, "snapshot", asked.listed("SnapshotId"))
        return _answer(asked.name, "snapshotSet", (self.snapshot(there[found]) for found in ids), token)

    def volume(self, volume: Volume) -> str:
        inner = {
            "volumeId": volume.id,
            "size": volume.size,
            "snapshotId": volume.snapshot_id or "",
            "availabilityZone": volume.availability_zone,
            "status": self.ebs.state_of(volume),
            "createTime": _time(volume.create_time),
            "volumeType": volume.volume_type,
            "iops": volume.iops or 3000,
            "encrypted": str(volume.encrypted).lower(),
        }
        return f"<item>{_fields(inner)}{_attachments(volume)}{self._tags(volume.id)}</item>"

    def snapshot(self, snapshot: Snapshot) -> str:
        self.ebs.seen(snapshot)
        completed_at = getattr(snapshot, "completion_time", None)
        inner = {
            "snapshotId": snapshot.id,
            "volumeId": snapshot.volume_id,
            "status": snapshot.status,
            "statusMessage": getattr(snapshot, "state_message", ""),
            "startTime": _time(snapshot.start_time),
            "completionTime": _time(completed_at) if completed_at and snapshot.status == "completed" else "",
            "progress": snapshot.progress,
            "ownerId": snapshot.owner_id,
            "volumeSize": snapshot.volume_size,
            "description": snapshot.description or "",
            "storageTier": snapshot.storage_tier,
        }
        # AWS leaves out empty fields, and parsers refuse an empty time.
        inner = {name: value for name, value in inner.items() if value not in ("", None)}
        return f"<item>{_fields(inner)}{self._tags(snapshot.id)}</item>"

    def _page(
        self, asked: Asked, there: Mapping[str, Any], kind: str, wanted: list[str]
    ) -> tuple[list[str], str | None]:
        token = asked.first("NextToken")
        if token is not None:
            if token not in self.kept:
                raise EC2ClientError("InvalidParameterValue", "Unable to parse pagination token")
            found = self.kept.pop(token)
        else:
            found = self._found(asked, there, kind, wanted)
        most = min(int(asked.first("MaxResults") or len(found)), LARGEST_PAGE) if asked.first("MaxResults") else None
        page, rest = (found, []) if most is None else (found[:most], found[most:])
        return [one for one in page if one in there], self._keep(rest)

    def _keep(self, rest: list[str]) -> str | None:
        if not rest:
            return None
        while len(self.kept) >= MOST_LISTINGS:
            self.kept.pop(next(iter(self.kept)))
        token = secrets.token_hex(16)
        self.kept[token] = rest
        return token

    def _found(self, asked: Asked, there: Mapping[str, Any], kind: str, wanted: list[str]) -> list[str]:
        filters = asked.filters()
        hidden = self.ebs.habits.look() if filters else set()
        for one in wanted:
            if asked.first("MaxResults"):
                said = "The parameter MaxResults cannot be used with specific ids in the same request"
                raise EC2ClientError("InvalidParameterCombination", said)
            if one not in there:
                raise EC2ClientError(f"Invalid{kind.title()}.NotFound", f"The {kind} '{one}' does not exist.")
        owners = set(asked.listed("Owner"))
        return [
            one
            for one in wanted or self._candidates(filters, there)
            if one not in hidden and _owned(there[one], owners) and self._matches(one, filters)
        ]

    def _candidates(self, filters: Mapping[str, list[str]], there: Mapping[str, Any]) -> Iterable[str]:
        """All ids, or those that have one of a tag's values where a filter names them."""
        for name, values in filters.items():
            if name.startswith("tag:"):
                found = [one for value in values for one in self.ebs.by_tag.get((name[4:], value), ())]
                return [one for one in dict.fromkeys(found) if one in there]
        return list(there)

    def _matches(self, resource_id: str, filters: Mapping[str, list[str]]) -> bool:
        tags = self.ebs.tags.get(resource_id, {})
        return all(_matches_tags(tags, name, values) for name, values in filters.items())

    def _tags(self, resource_id: str) -> str:
        tags = self.ebs.tags.get(resource_id, {})
        items = (f"<item>{_fields({'key': key, 'value': value})}</item>" for key, value in tags.items())
        return f"<tagSet>{''.join(items)}</tagSet>"


def _owned(found: Any, owners: set[str]) -> bool:
    owner = getattr(found, "owner_id", DEFAULT_ACCOUNT_ID)
    return not owners or owner in owners or ("self" in owners and owner == DEFAULT_ACCOUNT_ID)


def _matches_tags(tags: Mapping[str, str], name: str, values: list[str]) -> bool:
    """Only the filters `tag-key` and `tag:NAME`, without wildcards."""
    if name == "tag-key":
        return not tags.keys().isdisjoint(values)
    if name.startswith("tag:"):
        return tags.get(name[4:]) in values
    raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")


def _attachments(volume: Volume) -> str:
    attachment = volume.attachment
    if attachment is None:
        return "<attachmentSet/>"
    inner = {
        "volumeId": volume.id,
        "instanceId": attachment.instance_id,
        "device": attachment.device,
        "status": attachment.status,
        "attachTime": _time(attachment.attach_time),
    }
    return f"<attachmentSet><item>{_fields(inner)}</item></attachmentSet>"


def _answer(action: str, name: str, items: Iterable[str], token: str | None) -> str:
    more = f"<nextToken>{token}</nextToken>" if token else ""
    return (
        f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>sandbox</requestId>'
        f"<{name}>{''.join(items)}</{name}>{more}</{action}Response>"
    )


def _fields(inner: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in inner.items())


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
