-- 011: the reservation's machine: its moves, what a worker needs to remember in the row, and the
-- counting of GPUs. The diagram is in workers/reservation/machine.py.

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
  ('reservation', 'active', 'expired', 'its time is over, or the pod is gone'),
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

select public.guard_machine('public.reservations', 'reservation', 'reservation_id');

-- Keeps what the row itself says about its last move: since when, and seed 003's status_history
-- (the last 100 entries; all of them are in public.status_history).
create or replace function public.note_reservation_move() returns trigger
language plpgsql
as $$
begin
  new.status_since := public.fleet_now();
  new.status_history := jsonb_path_query_array(coalesce(new.status_history, '[]'), '$[last - 98 to last]')
    || jsonb_build_object(
      'timestamp', public.fleet_now(),
      'from', case when tg_op = 'UPDATE' then old.status else '(new)' end,
      'status', new.status,
      'reason', public.move_reason(new.status_reason));
  return new;
end
$$;

drop trigger if exists note_move on public.reservations;
create trigger note_move before update on public.reservations
  for each row when (old.status is distinct from new.status)
  execute function public.note_reservation_move();
drop trigger if exists note_new on public.reservations;
create trigger note_new before insert on public.reservations
  for each row execute function public.note_reservation_move();

-- Adds what a statement changed in gpus_held to gpu_types.held_gpus, type by type in name order, so that
-- both agree at every commit, whoever writes.
create or replace function public.count_gpus() returns trigger
language plpgsql
as $$
declare
  changes text;
  change record;
begin
  changes := case tg_op
    when 'INSERT' then 'select gpu_type, gpus_held as gpus from new_rows'
    when 'DELETE' then 'select gpu_type, -gpus_held as gpus from old_rows'
    else 'select gpu_type, gpus_held as gpus from new_rows union all select gpu_type, -gpus_held from old_rows'
  end;
  for change in execute
    'select gpu_type, sum(gpus) as gpus from (' || changes || ') c group by gpu_type having sum(gpus) <> 0 order by 1'
  loop
    update public.gpu_types set held_gpus = held_gpus + change.gpus where gpu_type = change.gpu_type;
    if not found then
      raise exception 'there is no GPU type % whose GPUs could be held', change.gpu_type using errcode = 'PF003';
    end if;
  end loop;
  return null;
end
$$;

drop trigger if exists count_gpus_new on public.reservations;
create trigger count_gpus_new after insert on public.reservations
  referencing new table as new_rows for each statement execute function public.count_gpus();
drop trigger if exists count_gpus_changed on public.reservations;
create trigger count_gpus_changed after update on public.reservations
  referencing old table as old_rows new table as new_rows for each statement execute function public.count_gpus();
drop trigger if exists count_gpus_gone on public.reservations;
create trigger count_gpus_gone after delete on public.reservations
  referencing old table as old_rows for each statement execute function public.count_gpus();

-- Refuses to hold more GPUs than the cluster has (a shrinking cluster is no reason to refuse giving
-- some back), and lets the line of a type move up when GPUs become free, whoever frees them.
create or replace function public.guard_gpus() returns trigger
language plpgsql
as $$
begin
  if new.held_gpus > old.held_gpus and new.held_gpus > new.total_cluster_gpus then
    raise exception 'all GPUs of type % are taken (% of % would be held)',
      new.gpu_type, new.held_gpus, new.total_cluster_gpus using errcode = 'PF409';
  end if;
  if new.total_cluster_gpus - new.held_gpus > old.total_cluster_gpus - old.held_gpus
    or (new.is_active and not old.is_active) then
    perform pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', new.gpu_type));
  end if;
  return new;
end
$$;

drop trigger if exists guard_gpus on public.gpu_types;
create trigger guard_gpus before update on public.gpu_types
  for each row execute function public.guard_gpus();

insert into public.periodic (name, queue, message, every) values
  ('reservation.sweep', 'gpu_reservations', '{"action": "sweep"}', '60 seconds'),
  ('reservation.sweep_pods', 'gpu_reservations', '{"action": "sweep_pods"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
