-- 049: what is known of a reservation's pod besides its state: the events of the cluster about it, and what it writes
-- while it runs, for those who read along (118). Written by reservation workers, and by who asks for logs.

-- Events about pods of ours, as a worker's watch saw them. Read by the timeline.
create table if not exists public.pod_events (
  event_uid text primary key,
  pod_name text not null,
  pod_uid text not null,
  -- The reservation whose pod it was, where that was known by then.
  reservation_id text,
  is_warning boolean not null,
  reason text not null,
  message text not null,
  count integer not null check (count >= 1),
  -- By our clock: when it was seen first, and when its count was written last.
  seen_at timestamptz not null default public.fleet_now(),
  counted_at timestamptz not null default public.fleet_now()
);

create index if not exists pod_events_pod_idx on public.pod_events (pod_name, seen_at);
create index if not exists pod_events_seen_idx on public.pod_events (seen_at);

-- Who reads along what a reservation's pod writes. A row is made by ask_for_logs and ends when nobody has read for a
-- minute. One chunk at a time: the next one is written when this one was taken.
create table if not exists public.log_requests (
  request_id uuid primary key default gen_random_uuid(),
  reservation_id varchar(255) not null references public.reservations (reservation_id) on delete cascade,
  asked_by text not null,
  asked_at timestamptz not null default public.fleet_now(),
  -- When its reader was heard of last.
  read_at timestamptz not null default public.fleet_now(),
  -- The kubelet's time of the last line that was served, and how many lines of that time were.
  cursor text,
  chunk text,
  chunk_number integer not null default 0,
  taken_number integer not null default 0,
  -- Whether more is there than the chunk holds.
  has_more boolean not null default false,
  -- Why nothing more comes; null while something may.
  ended text
);

create index if not exists log_requests_asked_idx on public.log_requests (asked_by) where ended is null;
create index if not exists log_requests_reservation_idx on public.log_requests (reservation_id);
create index if not exists log_requests_read_idx on public.log_requests (read_at);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.pod_events', 'seen_at', '90 days', false, null),
  ('public.log_requests', 'read_at', '1 day', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;
