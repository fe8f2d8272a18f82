-- 037: what users have asked of a reservation, and what became of it.

-- Written by the reservation worker in the commit that does it, newest last, the last 50: action, by, at, told (what
-- was done, for people), and request_id where the message had one. A request with the id of one of them is done already.
alter table public.reservations add column if not exists requests_done jsonb not null default '[]' check (
  jsonb_typeof(requests_done) = 'array' and jsonb_array_length(requests_done) <= 50 is not false
  or public.refuse_value('requests_done', left(requests_done::text, 60), 'an array of at most 50'));
