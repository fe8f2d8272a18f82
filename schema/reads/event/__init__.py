"""Subscriptions to events, and their last deliveries, as people see them: never where they go, and never a secret."""
