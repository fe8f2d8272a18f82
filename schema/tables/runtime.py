"""The history of every machine, dead letters (010), and what the offline sweeps saw (020)."""

from pgfleet.schema.tables.described import described

status_history = described("public.status_history")
dead_letters = described("public.dead_letters")
offline_sweeps = described("public.offline_sweeps")
