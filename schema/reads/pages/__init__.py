"""Lists for whoever turns pages: newest first, by a cursor that rows that come meanwhile do not move."""
