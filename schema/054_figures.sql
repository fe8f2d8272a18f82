-- 054: figures of the fleet over time, of what has no history of its own: GPUs that are held, free and waited for, and what
-- waits in the queues. And who works.

-- One row a figure every five minutes; written by keep_figures (185) only. `about` is a queue, a machine or a GPU type.
create table if not exists public.figures (
  at timestamptz not null,
  figure text not null,
  about text not null,
  state text not null,
  value double precision not null,
  primary key (figure, about, state, at)
);

create index if not exists figures_at_idx on public.figures (at);

-- Which process counts for all, and until when: the row is its lease. Written by take_figures (185).
create table if not exists public.figures_lease (
  only_one boolean primary key default true check (only_one),
  holder text not null,
  until timestamptz not null
);

-- Processes that work, as they have told (note_worker, 135): one row each, until it ends, or is not heard of for a day.
create table if not exists public.workers (
  worker text primary key,
  queue text not null,
  version text not null,
  started_at timestamptz not null default public.fleet_now(),
  seen_at timestamptz not null default public.fleet_now(),
  in_hand integer not null
);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.figures', 'at', '90 days', false, null),
  ('public.workers', 'seen_at', '1 day', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
