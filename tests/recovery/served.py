"""The small kind as dramatiq's command line serves it."""

from pgfleet.workers.runtime.serve import serve
from worlds.small.kind import small_kind

actor = serve(small_kind())
