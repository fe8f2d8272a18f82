"""What a login may not send is told to its program in a sentence."""

import pytest

from pgfleet.producers.sending import put
from pgfleet.schema.errors import Refusal
from pgfleet.schema.messages import Sweep
from worlds.strangers import stranger_on


def test_a_producer_says_what_may_be_sent(dsn: str) -> None:
    with stranger_on(dsn) as stranger, pytest.raises(Refusal, match="It is one of: create_disk, snapshot_disk"):
        put(stranger, "disk_operations", Sweep())
