"""What a node puts into a heartbeat to prove that it is the node's: made from its key, which stays at the node.

The proof is HMAC-SHA256 in hex. Its key is the SHA-256 of the node's key, written in hex, which is what the database
keeps. Its text is `<source>.<node_id>.<id>.<sent_at>`, each as the message has it, letter by letter. So a proof is for
one heartbeat of one node: the database counts each `id` once, and remembers it for longer than a proof holds.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

# Ids of heartbeats are remembered for two days and more (033). A proof that was taken has a sent_at at most a day after
# that, and one that is shown again has one at most a day before: so its id is still known.
HOLDS_FOR = timedelta(days=1)


def hash_of(key: str) -> str:
    """The SHA-256 of a key, in hex: all that leaves the place where the key is, and a secret itself."""
    return hashlib.sha256(key.encode()).hexdigest()


def proof_of(key_hash: str, heartbeat: dict[str, Any]) -> str:
    """The proof for the body of a heartbeat, which has its `source`, `node_id`, `id` and `sent_at`."""
    text = ".".join(str(heartbeat[name]) for name in ("source", "node_id", "id", "sent_at"))
    return hmac.digest(key_hash.encode(), text.encode(errors="surrogatepass"), "sha256").hex()


def is_proven(heartbeat: dict[str, Any], key_hashes: Iterable[str]) -> bool:
    """Whether the `proof` of a heartbeat was made with one of its node's keys."""
    given = str(heartbeat["proof"]).encode(errors="surrogatepass")
    fitting = [hmac.compare_digest(proof_of(key_hash, heartbeat).encode(), given) for key_hash in key_hashes]
    return any(fitting)
