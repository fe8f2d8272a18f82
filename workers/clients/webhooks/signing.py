"""Signatures as Standard Webhooks has them: over the id, the time and the body, with the subscription's secret."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

PREFIX = "whsec_"


def signed(secret: str, webhook_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """The three headers by which a receiver knows who has sent a body, and that it has come before."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
