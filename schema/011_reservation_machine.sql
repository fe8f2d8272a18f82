-- 011: the reservation's machine: its moves, and what a worker needs to remember in the row. The diagram is in
-- workers/reservation/machine.py, the triggers are in 110 and 111.

alter table public.reservations
  add column if not exists status_reason text,
  add column if not exists status_msg_id bigint,
  add column if not exists status_since timestamptz not null default public.fleet_now(),
  -- The number of the row's one live ticket: an older ticket is stale and does nothing.
  add column if not exists ticket integer not null default 0,
  -- GPUs that this row holds, from admission until its pod is seen gone.
  add column if not exists gpus_held integer not null default 0 check (gpus_held >= 0),
  -- The place in the line: since when, and among those of one moment the number of the create message.
  add column if not exists waiting_since timestamptz not null default public.fleet_now(),
  add column if not exists line_number bigint not null default 0,
  -- Not in the line before this time: its pod could not be scheduled although GPUs were free.
  add column if not exists retry_at timestamptz,
  add column if not exists schedule_failures integer not null default 0,
  -- When a look first found the pod gone; a second look decides.
  add column if not exists pod_missing_since timestamptz,
  add column if not exists dockerimage text,
  add column if not exists env_vars jsonb not null default '{}',
  add column if not exists command text;

-- GPUs held by reservations: kept by count_gpus, never written by anyone else.
alter table public.gpu_types
  add column if not exists held_gpus integer not null default 0 check (held_gpus >= 0);

create index if not exists reservations_line_idx
  on public.reservations (gpu_type, waiting_since, line_number) where status in ('pending', 'queued');
create index if not exists reservations_unended_idx
  on public.reservations (reservation_id) where reservation_ended is null;

insert into public.moves (machine, from_status, to_status, happens_when) values
  ('reservation', '(new)', 'pending', 'the message is valid and its GPU type is active'),
  ('reservation', '(new)', 'cancelled', 'a cancel came first: a tombstone, so that a late create does nothing'),
  ('reservation', 'pending', 'preparing', 'GPUs are free and nobody of that type is ahead'),
  ('reservation', 'pending', 'queued', 'no GPUs are free, or someone is ahead'),
  ('reservation', 'queued', 'preparing', 'GPUs were freed; oldest first per type'),
  ('reservation', 'preparing', 'queued', 'the pod could not be scheduled: deleted, GPUs given back'),
  ('reservation', 'preparing', 'active', 'the pod is ready'),
  ('reservation', 'active', 'expired', 'its time is over, the pod is gone, or nobody uses its GPUs'),
  ('reservation', 'pending', 'cancelled', 'the user, or waiting for too long'),
  ('reservation', 'queued', 'cancelled', 'the user, or waiting for too long'),
  ('reservation', 'preparing', 'cancelled', 'the user'),
  ('reservation', 'active', 'cancelled', 'the user'),
  ('reservation', 'pending', 'failed', 'we could not go on; the reason says why'),
  ('reservation', 'queued', 'failed', 'we could not go on; the reason says why'),
  ('reservation', 'preparing', 'failed', 'the pod can''t start, or was not ready in time'),
  ('reservation', 'active', 'failed', 'we could not go on; the reason says why'),
  ('reservation', 'failed', 'pending', 'an operator replays its dead letter')
on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;

insert into public.periodic (name, queue, message, every) values
  ('reservation.sweep', 'gpu_reservations', '{"action": "sweep"}', '60 seconds'),
  ('reservation.sweep_pods', 'gpu_reservations', '{"action": "sweep_pods"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
