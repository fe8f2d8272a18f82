"""Histories, dead letters and periodic work (010), offline sweeps (020), outages (023), figures (054)."""

from pgfleet.schema.tables.described import described

status_history = described("public.status_history")
dead_letters = described("public.dead_letters")
periodic = described("public.periodic")
offline_sweeps = described("public.offline_sweeps")
outages = described("public.outages")
figures = described("public.figures")
