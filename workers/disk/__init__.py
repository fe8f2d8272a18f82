"""The disk worker: `dramatiq pgfleet.workers.disk` starts it."""

from pgfleet.workers.disk.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
