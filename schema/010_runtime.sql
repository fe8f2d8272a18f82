-- 010: what every worker stands on: the clock, the machines with their history, dead letters, periodic work and how
-- long rows are kept.
--
-- The life of a message, as the database sees it. A producer calls pgmq.send. A statement trigger
-- rings (`ring`), a worker claims the message by pushing its `vt` into the future and raising
-- `read_ct`; (msg_id, read_ct) is from then on its token. The worker settles in one transaction:
-- rows move, `log_moves` checks each move against `moves` and writes `status_history`, follow-ups are
-- inserted, the message is deleted. A message that can't be handled goes to `dead_letters`.
--
-- Functions are in the files from 100 on, but for the three below, without which no table can be made.
--
-- Our SQLSTATEs: PF001 PGMQ is not installed; PF002 a move that its machine does not list; PF003 GPUs of a type that
-- does not exist; PF004 a value out of its range, or a word that is no status; PF005 somebody else holds it; PF006
-- it has to stay; PF007 full; PF008 there is no such thing; PF009 decided under an old epoch; PF010 not fit to lead;
-- PF409 decided on a view that is no longer true: look at the row again.

-- The only clock of the program, and the default of most times. Inlined by the planner, so it costs nothing; tests
-- replace it to move time for every session at once.
create or replace function public.fleet_now() returns timestamptz
language sql stable parallel safe
as 'select statement_timestamp()';

-- Who moves rows in this transaction: the worker that named itself, else the person at the prompt. Called by the
-- triggers that write histories, and a default of events (016).
create or replace function public.move_actor() returns text
language sql stable
as $$ select coalesce(nullif(current_setting('pgfleet.actor', true), ''), session_user || ' (by hand)') $$;

-- Called by CHECK constraints. Raises PF004; returns boolean only so that it can stand in a CHECK:
--   check (n >= 0 is not false or public.refuse_value('seats', n::text, 'at least 0'))
-- Not immutable: the planner would call it ahead of time where all its arguments are constants.
create or replace function public.refuse_value(what text, value text, allowed text) returns boolean
language plpgsql
as $$
begin
  raise exception '% can''t be %, only %', what, coalesce(value, 'null'), allowed using errcode = 'PF004';
end
$$;

-- Every move that a machine allows; filled by the SQL file of the kind, read by log_moves.
-- A row that did not exist before comes from '(new)'.
create table if not exists public.moves (
  machine text not null,
  from_status text not null,
  to_status text not null,
  happens_when text not null,
  primary key (machine, from_status, to_status)
);

-- Every move that happened; written by log_moves only, in the transaction of the move itself.
-- One row's history is gap-free: each from_status is the to_status before it.
create table if not exists public.status_history (
  history_id bigint generated always as identity,
  machine text not null,
  row_id text not null,
  from_status text not null,
  to_status text not null,
  reason text not null,
  actor text not null,
  msg_id bigint,
  at timestamptz not null default public.fleet_now(),
  primary key (machine, row_id, history_id)
);

create index if not exists status_history_at_idx on public.status_history (at);

-- Messages that could not be handled, whole, with the reason; written by the settler, read and
-- answered with `pgfleet dead`. A replayed or discarded letter stays, with the time and who did it.
create table if not exists public.dead_letters (
  dead_letter_id bigint generated always as identity primary key,
  queue text not null,
  msg_id bigint not null,
  row_id text,
  message jsonb,
  headers jsonb,
  reason text not null,
  attempts integer not null default 0,
  enqueued_at timestamptz not null,
  died_at timestamptz not null default public.fleet_now(),
  answered_at timestamptz,
  answer text check (answer in ('replayed', 'discarded')),
  answered_by text,
  check ((answered_at is null) = (answer is null))
);

create index if not exists dead_letters_open_idx
  on public.dead_letters (queue, dead_letter_id) where answered_at is null;
create index if not exists dead_letters_answered_idx on public.dead_letters (answered_at) where answered_at is not null;

-- Work that comes back: any idle worker of the queue turns a due row into a message.
create table if not exists public.periodic (
  name text primary key,
  queue text not null,
  message jsonb not null,
  every interval not null check (every > '0'),
  next_at timestamptz not null default public.fleet_now()
);

-- One row for each table that is kept for a while only; written by the file of the table, read by keep_house (103).
-- keep is the operator's to change, the rest is the migration's.
create table if not exists public.retention (
  table_name text primary key,
  time_column text not null,
  keep interval not null check (
    keep >= '1 day' is not false or public.refuse_value('keep', keep::text, 'at least a day')),
  by_day boolean not null,
  -- Which rows may go; null for all.
  only_where text,
  next_at timestamptz not null default public.fleet_now()
);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.status_history', 'at', '400 days', false, null),
  ('public.dead_letters', 'answered_at', '90 days', false, 'answered_at is not null')
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
