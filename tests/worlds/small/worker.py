"""The small kind as a worker process: `dramatiq worlds.small.worker`."""

from pgfleet.workers.runtime.serve import serve
from worlds.small.kind import small_kind

actor = serve(small_kind())
