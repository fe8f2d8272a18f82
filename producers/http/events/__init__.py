"""Events out over HTTP: one hub a process follows the feed, and each stream is a subscriber of it."""
