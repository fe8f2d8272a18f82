"""Messages with the rows that they make: both are there when the caller commits. Not for a login that only sends."""
