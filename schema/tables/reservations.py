"""Reservations of GPUs (002, 008)."""

from pgfleet.schema.tables.described import described

reservations = described("public.reservations", shows="current_detailed_status")
