"""Subscriptions to events (060); where they go is read by a statement of the event worker alone."""

from pgfleet.schema.tables.described import described

# A subscription whose deliveries fail shows in `detail` when the next try is.
event_subscriptions = described("public.event_subscriptions", machine="subscription", shows="detail")
