-- 057: the history of moves as a feed: every move is an event, read in the order of commits without a hole.
--
-- history_id says nothing of that order: it is handed out before the commit, so 203 may be there before 202. What is read
-- instead is the number of the transaction, below the oldest one that still runs (events_since, 167): whatever is to come
-- has a greater one. A server that was restored from a dump counts its transactions anew, which is a new timeline.
--
-- A position in the feed is (timeline, xact_id, history_id), and `<timeline>.<xact_id>.<history_id>` in words. Moves of
-- before this file are (0, 0, history_id): the columns come with a constant, so no row is written anew. They are seen by
-- who asks for one row's, and the feed of all rows begins after them.

-- Which timeline the server is on: a sequence, as nothing else is as cheap to read for each row. Set by note_timeline (167).
create sequence if not exists public.status_history_timeline_seq as integer;

alter table public.status_history
  add column if not exists timeline integer not null default 0,
  add column if not exists xact_id xid8 not null default '0';
alter table public.status_history
  alter column timeline
    set default coalesce(pg_sequence_last_value('public.status_history_timeline_seq'::regclass), 1)::integer,
  alter column xact_id set default pg_current_xact_id();
alter sequence public.status_history_timeline_seq owned by public.status_history.timeline;

-- Without the moves of before, which nobody's position is among: the table is read once, and nothing is sorted.
create index if not exists status_history_feed_idx on public.status_history (timeline, xact_id, history_id)
  where timeline > 0;

-- Each timeline with the server that it is on, where that lets us know, and how far it was when somebody last looked, by
-- the minute: what was moved since belongs to the next one, once the server is another. Written by note_timeline.
create table if not exists public.feed_timelines (
  timeline integer primary key,
  system_identifier bigint,
  database_oid bigint,
  wal_timeline text,
  began_at timestamptz not null default public.fleet_now(),
  seen_at timestamptz not null default public.fleet_now(),
  seen_history_id bigint not null,
  seen_xact_id xid8 not null
);

-- The greatest position whose move is not kept any more (103): one row, from the first such day on. A reader that is not
-- past it has lost moves, and is told. Written by note_pruned (167).
create table if not exists public.feed_floor (
  only_one boolean primary key default true check (only_one),
  timeline integer not null,
  xact_id xid8 not null,
  history_id bigint not null
);
