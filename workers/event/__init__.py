"""The event worker: `dramatiq pgfleet.workers.event` starts it."""

from pgfleet.workers.event.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
