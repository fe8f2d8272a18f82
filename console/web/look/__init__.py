"""What pages are made of: the frame around them, words, tables, buttons and pictures."""
