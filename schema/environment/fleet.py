"""The name of a fleet, and its pods': what it makes outside is told from another's by that."""

import re
from base64 import b32encode
from hashlib import sha256


def a_fleet(name: str) -> str:
    """It is a part of the names of pods and what goes with them, whose longest has room for so much."""
    if not re.fullmatch(r"([a-z]([a-z0-9-]{0,14}[a-z0-9])?)?", name):
        raise ValueError("must be 1 to 16 of a-z, 0-9 and -, which begin with a letter and end with no -, such as eu-1")
    return name


def pod_name(reservation_id: str, fleet: str = "") -> str:
    """Names come from the id, so that an effect done twice is an effect done once; and from the fleet's name, if any.

    From a hash of the id: UUIDs of version 7 that are made within a minute begin alike.
    """
    of = f"{fleet}/{reservation_id}" if fleet else reservation_id
    hashed = b32encode(sha256(of.encode()).digest()).decode().lower()
    return f"{_stem(fleet)}-{hashed[:10]}"


def is_pod_name(name: str, fleet: str) -> bool:
    """Whether a pod is called as those of this fleet are; those of no other fleet are."""
    return name.rpartition("-")[0] == _stem(fleet)


def _stem(fleet: str) -> str:
    return f"gpu-dev-{fleet}" if fleet else "gpu-dev"
