"""Names in the pods of reservations, which templates may not take and other clients look for.

All that is made has the label MANAGED, and that of its fleet, if it has a name. By both it is listed, so that no fleet
sees what another has made; one without a name sees what has no such label.
"""

from typing import Any

MANAGED = "app.kubernetes.io/managed-by=pgfleet"
FLEET = "pgfleet/fleet"

CONTAINER = "gpu-dev"
HOME = "/home/dev"
KEYS_FOLDER = "/etc/pgfleet/ssh"
KEYS_FILE = "authorized_keys"
# Of the config map with the keys: which users have none.
WITHOUT_KEYS = "pgfleet/without-keys"
# By its variables a runtime of NVIDIA gives GPUs, whatever the device plugin has given; an image may have them, too.
NVIDIA = "NVIDIA_"
DEVICES = "NVIDIA_VISIBLE_DEVICES"
# What an image may ask that runtime for beside its GPUs: devices that all GPUs of a node share, and its network cards.
# A template may allow it.
UNASKED = {
    "NVIDIA_GDRCOPY": "disabled",
    "NVIDIA_GDS": "disabled",
    "NVIDIA_IMEX_CHANNELS": "void",
    "NVIDIA_MOFED": "disabled",
    "NVIDIA_NVSWITCH": "disabled",
}
# By these each node of a gang knows which it is, and where the first one is.
OURS_IN_GANGS = frozenset({"MASTER_ADDR", "MASTER_PORT", "NNODES", "NODE_RANK", "WORLD_SIZE"})
OURS_IN_ENV = frozenset({"RESERVATION_ID", "SSH_PUBLIC_KEYS_FILE", DEVICES}) | OURS_IN_GANGS
# All pods of a gang have the name of its first pod in this label.
GANG_LABEL = "pgfleet/gang"
GANG_FOLDER = "/etc/pgfleet/gang"
GANG_KEY = "id_ed25519"
GANG_PUBLIC_KEY = "id_ed25519.pub"
GANG_SSH_CONFIG = "ssh_config"
# What an operator lets all pods have: claims, secrets and config maps of the namespace that are called so.
SHARED = "shared-"


def home_name(pod: str) -> str:
    """The name of a pod's persistent volume and of its claim."""
    return f"{pod}-home"


def keys_name(pod: str) -> str:
    """The name of the config map with the SSH keys of a pod's users."""
    return f"{pod}-keys"


def ssh_name(pod: str) -> str:
    """The name of a pod's service for SSH."""
    return f"{pod}-ssh"


def headless_name(pod: str) -> str:
    """The name by which the other nodes of its gang find a pod."""
    return f"{pod}-headless"


def gang_name(first_pod: str) -> str:
    """The name of the config map with the public key of a gang."""
    return f"{first_pod}-gang"


def jupyter_name(pod: str) -> str:
    """The name of a pod's service for Jupyter."""
    return f"{pod}-jupyter"


def of_fleet(fleet: str) -> str:
    """The selector of what has this fleet's name, or none."""
    return f"{FLEET}={fleet}" if fleet else f"!{FLEET}"


def managed(fleet: str) -> str:
    """The selector of all that this fleet has made."""
    return f"{MANAGED},{of_fleet(fleet)}"


def made_by_others(fleet: str) -> tuple[str, ...]:
    """The selectors of all else: what is no fleet's, and what is another's."""
    return MANAGED.replace("=", "!="), f"{MANAGED},{FLEET}!={fleet}" if fleet else f"{MANAGED},{FLEET}"


def stamped(body: dict[str, Any], fleet: str) -> dict[str, Any]:
    """A body with its fleet's name. Whatever is made goes through here."""
    metadata = body["metadata"]
    labels = metadata["labels"] | ({FLEET: fleet} if fleet else {})
    return {**body, "metadata": {**metadata, "labels": labels}}
