"""Histories, dead letters and periodic work (010), what the offline sweeps saw (020), and outages (023)."""

from pgfleet.schema.tables.described import described

status_history = described("public.status_history")
dead_letters = described("public.dead_letters")
periodic = described("public.periodic")
offline_sweeps = described("public.offline_sweeps")
outages = described("public.outages")
