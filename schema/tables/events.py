"""Subscriptions to events (060) and their last deliveries (061). Where they go, the event worker alone reads."""

from pgfleet.schema.tables.described import described

# A subscription whose deliveries fail shows in `detail` when the next try is.
event_subscriptions = described("public.event_subscriptions", machine="subscription", shows="detail")
event_deliveries = described("public.event_deliveries")
