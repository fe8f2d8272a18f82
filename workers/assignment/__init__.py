"""The assignment worker: `dramatiq pgfleet.workers.assignment` starts it."""

from pgfleet.workers.assignment.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
