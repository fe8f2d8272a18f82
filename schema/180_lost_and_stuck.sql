-- 180: reservations that have ended and still hold something, and requests that have come before their reservation.

-- What the teardown of a reservation waits for and since when, for people: what it has seen, else what keeps it from
-- looking, where its row begins with a code for that. Null where it waits for nothing, or has not looked. It takes columns
-- and not the row, so that whoever may not read all of them may ask.
create or replace function public.teardown_hold(
  held_by text, held_since timestamptz, status text, reservation_ended timestamptz, shown text)
returns text
language sql stable
as $$
  select case
    when held_by is not null then
      held_by || ' since ' || to_char(held_since at time zone 'UTC',
        case when held_since > public.fleet_now() - interval '12 hours' then '' else 'YYYY-MM-DD ' end || 'HH24:MI')
        || ' UTC'
    when status in ('expired', 'cancelled', 'failed') and reservation_ended is null and shown ~ '^[A-Z]+(_[A-Z]+)+: '
    then shown
  end
$$;

-- Reservations whose end was ten minutes ago and whose pod or home has not been seen gone. One that waits only for its
-- disk's snapshot is not stuck. One that was released by force is in here for as long as its pod or home is there.
create or replace view public.stuck_reservations as
select r.reservation_id, r.user_id, r.status, r.status_since as since, r.gpu_type, r.gpus_held, r.pod_name, r.namespace,
  r.disk_name, r.forced_at, r.forced_by, r.stuck_told_at,
  public.teardown_hold(r.held_by, r.held_since, r.status, r.reservation_ended, r.current_detailed_status) as waits_for
from public.reservations r
where r.status in ('expired', 'cancelled', 'failed')
  and (r.reservation_ended is null or r.held_by is not null)
  and r.status_since < public.fleet_now() - interval '10 minutes'
  and (r.held_by is not null or not exists (
    select from public.disks d where d.reservation_id = r.reservation_id and d.release_asked_at is not null));

-- Lets go of what an ended reservation holds, whether it is gone or not, and of a gang all rows that hold something, as
-- they end together: their GPUs count as free at once, and their tickets, which are due now (note_release_by_force), delete
-- their pods without waiting for the nodes. Called by `pgfleet release --force`, and by a person. Returns whether there was
-- anything to let go of; raises PF008 and, for a live one, PF002.
create or replace function public.release_by_force(of_reservation text) returns boolean
language plpgsql
as $$
declare
  its_rows text[] := public.with_gangs(array[of_reservation]);
  live text;
begin
  -- Counters are locked ahead of the rows that they count, as workers do.
  perform from public.gpu_types
  where gpu_type = (select r.gpu_type from public.reservations r where r.reservation_id = of_reservation) for update;
  perform from public.reservations r where r.reservation_id = any (its_rows) order by r.reservation_id for update;
  if not found then
    raise exception 'there is no reservation %', of_reservation using errcode = 'PF008';
  end if;
  select r.status into live from public.reservations r
  where r.reservation_id = any (its_rows) and r.status not in ('expired', 'cancelled', 'failed') limit 1;
  if live is not null then
    raise exception 'reservation % is %, and only an ended one can be released', of_reservation, live
      using errcode = 'PF002', hint = 'Cancel it first.';
  end if;
  update public.reservations
  set forced_at = public.fleet_now(), forced_by = public.signed_by(), gpus_held = 0
  where reservation_id = any (its_rows) and (reservation_ended is null or held_by is not null);
  return found;
end
$$;

-- What follows where a reservation is released by force, whoever does it: its history says so, and its ticket is due. A
-- trigger of public.reservations.
create or replace function public.note_release_by_force() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, notice)
  values ('reservation', new.reservation_id, new.status, new.status,
    format('released by force, holding %s GPUs: %s', old.gpus_held,
      coalesce(
        public.teardown_hold(old.held_by, old.held_since, old.status, old.reservation_ended,
          old.current_detailed_status),
        'nobody has looked what is left')),
    public.signed_by(), 'released');
  update pgmq.q_gpu_reservations set vt = public.fleet_now()
  where message ->> 'action' = 'advance' and message ->> 'reservation_id' = new.reservation_id
    and read_ct = 0 and vt > public.fleet_now();
  -- Wakes the workers; and looks where its ticket was in a worker's hands, or lost.
  perform pgmq.send('gpu_reservations',
    jsonb_build_object('action', 'advance', 'reservation_id', new.reservation_id, 'ticket', -1));
  return null;
end
$$;

revoke execute on function public.note_release_by_force() from public;

create or replace trigger note_release_by_force after update of forced_at on public.reservations
  for each row when (new.forced_at is not null and new.forced_at is distinct from old.forced_at)
  execute function public.note_release_by_force();

-- Requests in the queue by the reservation that they are about. Tickets are not in it, so it costs them nothing. What
-- others send may be of any length.
do $$
begin
  if to_regclass('pgmq.q_gpu_reservations_asked_idx') is null then
    create index q_gpu_reservations_asked_idx
      on pgmq.q_gpu_reservations (lower(left(message ->> 'reservation_id', 36)))
      where message ->> 'action' is distinct from 'advance';
  end if;
end
$$;

-- Whoever makes a reservation lets the requests that have waited for it go on at once: those that a worker has put off,
-- not those that their sender wants later. One that is in a worker's hands right now is skipped; it looks again soon.
-- A trigger of public.reservations.
create or replace function public.wake_requests() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update pgmq.q_gpu_reservations q set vt = public.fleet_now()
  where q.msg_id = any (array(
    select w.msg_id
    from pgmq.q_gpu_reservations w
    -- An array, and no join: with statistics of an empty queue each row would have all of the queue read.
    where lower(left(w.message ->> 'reservation_id', 36)) = any (array(select n.reservation_id from new_rows n))
      and w.message ->> 'action' is distinct from 'advance' and w.headers -> 'pgfleet' ? 'sent_at'
      and w.read_ct = 0 and w.vt > public.fleet_now()
    for update of w skip locked));
  return null;
end
$$;

revoke execute on function public.wake_requests() from public;

create or replace trigger wake_requests after insert on public.reservations
  referencing new table as new_rows for each statement execute function public.wake_requests();
