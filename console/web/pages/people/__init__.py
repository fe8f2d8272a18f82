"""Who is let in, by what, and who one is."""
