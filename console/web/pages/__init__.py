"""The pages: a file a noun, whose PAGES are found by themselves."""
