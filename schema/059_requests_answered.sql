-- 059: requests to the HTTP API that came with an `Idempotency-Key`, and what they were answered: whoever asks for the same
-- again is answered so again, and nothing is done twice. A row is there if and only if what was asked for was done: it is
-- written in that transaction. What was refused is not kept. Written and read by begin_request and finish_request (108) alone.

create table if not exists public.requests_answered (
  -- Whom the API spoke for. Of the key the SHA-256 is kept, as it is whatever a client chose.
  asked_by text not null,
  key_hash text not null,
  -- The endpoint's name, for people; and a hash of all that makes it the same request: address, parameters, body.
  endpoint text not null,
  asked_hash text not null,
  asked_at timestamptz not null default public.fleet_now(),
  -- The answer. `body` is null where there was none, or where it held what is shown once.
  status integer,
  about text,
  location text,
  body text,
  primary key (asked_by, key_hash)
);
create index if not exists requests_answered_asked_idx on public.requests_answered (asked_at);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.requests_answered', 'asked_at', '24 hours', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
