"""The heartbeat worker: `dramatiq pgfleet.workers.heartbeat` starts it."""

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
