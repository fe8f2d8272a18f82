-- 046: how busy the GPUs of an active reservation are, where it is to end when nobody uses them: off unless it was asked
-- for, or a policy (047) says so. Read in the pod by the reservation worker (workers/reservation/active/idle.py).

alter table public.reservations
  -- After so many minutes in which all of its GPUs were idle it ends; null for never. Never changed.
  add column if not exists idle_minutes integer check (
    idle_minutes between 1 and 10080 is not false
    or public.refuse_value('idle_minutes', idle_minutes::text, '1 to 10080, a week')),
  -- When they were looked at last, and what each was busy then, in percent; empty where nobody could tell.
  add column if not exists gpus_read_at timestamptz,
  add column if not exists gpus_use jsonb not null default '[]' check (
    jsonb_typeof(gpus_use) = 'array' and jsonb_array_length(gpus_use) <= 16 is not false
    or public.refuse_value('gpus_use', left(gpus_use::text, 60), 'an array of at most 16')),
  -- Since when every look has found all of them idle, and when it was said that they are for too long.
  add column if not exists idle_since timestamptz,
  add column if not exists idle_warned_at timestamptz;

-- What the looks of the last day have found. Written by note_use (115), in the commit of the look.
create table if not exists public.gpu_use (
  reservation_id text not null,
  read_at timestamptz not null,
  -- Of each GPU, as in the row.
  percent jsonb not null,
  primary key (reservation_id, read_at)
);

create index if not exists gpu_use_read_idx on public.gpu_use (read_at);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.gpu_use', 'read_at', '1 day', false, null)
on conflict (table_name) do nothing;
