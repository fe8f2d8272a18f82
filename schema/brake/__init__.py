"""What an operator holds back until it is let go of: kinds of messages, deletions outside, nodes (038)."""
