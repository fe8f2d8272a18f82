-- 027: what a reservation's row says when it is lost or stuck: what it is a retry of, what its teardown waits for, and who
-- has let go of it by force. The rules are in 180.

alter table public.reservations
  -- The ended reservation that this one is asked for again.
  add column if not exists retried_from varchar(255),
  -- Of duration_hours, what was asked for later: a retry has only what was asked for first.
  add column if not exists extended_hours double precision not null default 0,
  -- After the end: what is still there outside, and since when that was seen. Written by the teardown.
  add column if not exists held_by text,
  add column if not exists held_since timestamptz,
  -- When its worker has logged that it is stuck.
  add column if not exists stuck_told_at timestamptz,
  -- When an operator let go of what it holds, whether it is gone or not; and who. Written by release_by_force.
  add column if not exists forced_at timestamptz,
  add column if not exists forced_by text;

create index if not exists reservations_held_idx on public.reservations (reservation_id) where held_by is not null;

insert into public.periodic (name, queue, message, every) values
  ('reservation.sweep_stuck', 'gpu_reservations', '{"action": "sweep_stuck"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
