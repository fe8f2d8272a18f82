"""One pod as its reservation sees it: what a look remembers, what it waits for, how it is reached, how it is lost."""
