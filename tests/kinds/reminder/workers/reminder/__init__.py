"""The reminder worker: `dramatiq pgfleet.workers.reminder` starts it."""

from pgfleet.workers.reminder.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
