-- 144: what tells a dead node from a silent queue.

-- How long the oldest heartbeat in the queue has been due: what was sent before then has been heard, what was sent
-- since may not have been. One that shall come later (or waits for its node to be known) is not counted. Called by
-- the offline sweeps.
create or replace function public.heartbeat_lag() returns interval
language sql stable
as $$
  select coalesce(public.fleet_now() - (
    select enqueued_at from pgmq.q_node_heartbeats
    where message ->> 'action' = 'heartbeat' and (vt <= public.fleet_now() or read_ct > 0)
    order by msg_id limit 1), '0')
$$;

-- The nodes of which a heartbeat still waits, as their messages name them: they live, whatever their last status.
-- Called by the offline sweeps.
create or replace function public.nodes_in_queue() returns text[]
language sql stable
as $$
  select array(
    select distinct message ->> 'node_id' from pgmq.q_node_heartbeats where message ->> 'action' = 'heartbeat')
$$;

-- Whether more than that share of at least three are silent. Called by why_hold_back and note_sweep.
create or replace function public.too_many(silent bigint, alive bigint, most_share float8) returns boolean
language sql immutable
as $$ select alive >= 3 and silent > most_share * alive $$;

-- Why an offline sweep must hold back; null if it need not. A silent queue, or a server that was away, is not a dead
-- fleet; and when most nodes go at once, we or the network are the likelier cause: a node that is not back when the
-- others are gets as long as a silence may be. Called by the offline sweeps.
create or replace function public.why_hold_back(
  of_machine text, silent bigint, alive bigint, silence interval, most_share float8)
returns text
language sql stable
as $$
  select case
    when silent = 0 then null
    when public.heartbeat_lag() > silence / 2
      then format('heartbeats wait in the queue for %s', date_trunc('second', public.heartbeat_lag()))
    when public.fleet_now() - pg_postmaster_start_time() < silence
      then format('the server started at %s', date_trunc('second', pg_postmaster_start_time()))
    when public.too_many(silent, alive, most_share)
      then format('%s of %s would go offline at once, more than PGFLEET_MASS_OUTAGE_SHARE (%s)', silent, alive,
        most_share)
    when public.fleet_now() < (select patient_until from public.offline_sweeps where machine = of_machine)
      then format('most were silent a while ago: %s are not back yet', silent)
  end
$$;

-- Writes down what a sweep saw, and returns it. Called by the offline sweeps.
create or replace function public.note_sweep(
  of_machine text, were_alive bigint, were_silent bigint, were_marked bigint, why text, silence interval,
  most_share float8)
returns public.offline_sweeps
language sql
as $$
  insert into public.offline_sweeps as known
    (machine, swept_at, alive, silent, marked, held_back, held_back_since, patient_until)
  values (of_machine, public.fleet_now(), were_alive, were_silent, were_marked, why,
    case when why is not null then public.fleet_now() end,
    -- Not where the queue explains it: then what was heard is known to the second.
    case when public.too_many(were_silent, were_alive, most_share) and public.heartbeat_lag() <= silence / 2
      then public.fleet_now() + silence end)
  on conflict (machine) do update set
    swept_at = excluded.swept_at, alive = excluded.alive, silent = excluded.silent, marked = excluded.marked,
    held_back = excluded.held_back,
    patient_until = coalesce(excluded.patient_until, known.patient_until),
    held_back_since = case when excluded.held_back is not null then coalesce(known.held_back_since, public.fleet_now())
      end
  returning *
$$;

-- An interval as people say it: '5 minutes', '90 seconds'. Called by the offline sweeps.
create or replace function public.in_words(span interval) returns text
language sql immutable
as $$
  select case when seconds >= 120 and mod(seconds, 60) = 0 then format('%s minutes', seconds / 60)
    else format('%s seconds', seconds) end
  from (select round(extract(epoch from span))::integer as seconds) s
$$;
