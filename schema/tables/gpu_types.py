"""Kinds of machines that can be reserved (004, 009)."""

from pgfleet.schema.tables.described import described

gpu_types = described("public.gpu_types")
