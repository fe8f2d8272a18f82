"""Commands about subscriptions to events."""
