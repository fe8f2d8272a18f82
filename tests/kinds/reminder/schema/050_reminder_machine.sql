-- 050: reminders, and the moves of their machine. Written by the reminder worker.

create table if not exists public.reminders (
  reminder_id uuid primary key,
  user_id text not null,
  note text not null,
  due_at timestamptz not null,
  -- What it waits for, in words.
  detail text,
  status text not null check (status in ('waiting', 'reminded', 'failed')),
  status_reason text,
  status_msg_id bigint,
  status_since timestamptz not null default public.fleet_now(),
  -- The number of the row's one live ticket: an older ticket is stale and does nothing.
  ticket integer not null default 0
);

comment on column public.reminders.user_id is 'The user whose row it is';

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('reminder', '(new)', 'waiting', 'the message is valid'),
  ('reminder', 'waiting', 'reminded', 'its time has come'),
  ('reminder', 'waiting', 'failed', 'we could not go on; the reason says why')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

insert into public.periodic (name, queue, message, every) values
  ('reminder.sweep', 'reminders', '{"action": "sweep"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
