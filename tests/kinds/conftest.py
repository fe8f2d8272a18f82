"""The reminders are a kind in a copy of the program only: their tests are run there."""

collect_ignore = ["reminder"]
