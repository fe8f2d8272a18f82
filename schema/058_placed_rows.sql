-- 058: rows that are there before their message is worked on: whoever serves the API inserts them in the transaction that
-- sends the message (168), so that they can be read at once. Until a worker has checked the message they stand in no line
-- and count in no limit: nobody has checked them yet.

alter table public.reservations
  -- Since when it waits for a worker to check its message; null once one has, and where it was never placed.
  add column if not exists unchecked_since timestamptz,
  -- A hash of what was asked for: whoever asks again under the same id has to ask for the same.
  add column if not exists asked_hash text;

alter table public.disk_operations
  add column if not exists unchecked_since timestamptz;
