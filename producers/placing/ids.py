"""The ids of what a principal asks for with an `Idempotency-Key`: the same key is the same row."""

from uuid import UUID, uuid5

# Of names of ours: whoever chooses a UUID by hand never meets it.
_NAMESPACE = UUID("b6a1a2f0-5b0c-5a43-9a57-7e0b1f0f6a2d")


def id_for_key(username: str, key: str) -> str:
    """Ids of two principals differ, whatever their keys are."""
    return str(uuid5(uuid5(_NAMESPACE, username), key))
