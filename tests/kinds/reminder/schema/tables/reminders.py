"""Reminders (050)."""

from pgfleet.schema.tables.described import described

# A row that waits shows what for in `detail`.
reminders = described("public.reminders", shows="detail")
