"""Names in the pods of reservations, which templates may not take and other clients look for."""

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
OURS_IN_ENV = frozenset({"RESERVATION_ID", "SSH_PUBLIC_KEYS_FILE", DEVICES})
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
