"""The feed of events: every move of every machine, in the order of commits, without a hole (`167_feed.sql`)."""
