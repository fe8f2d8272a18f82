"""The reservation worker: `dramatiq pgfleet.workers.reservation` starts it."""

from pgfleet.workers.reservation.machine import KIND
from pgfleet.workers.runtime.serve import serve

actor = serve(KIND)
