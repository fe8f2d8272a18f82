"""What an active reservation is told, and what it is asked, while it runs."""
