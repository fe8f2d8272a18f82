-- 144: what tells a dead node from a silent queue.

-- How long the oldest heartbeat in the queue has been due: what was sent before then has been heard, what was sent
-- since may not have been. One that shall come later (or waits for its node to be known) is not counted. Nor is what
-- strangers send, which the door of the queue has stamped (asked_role): else any of them could hold back the sweep. Called
-- by the offline sweeps.
create or replace function public.heartbeat_lag() returns interval
language sql stable
as $$
  select coalesce(public.fleet_now() - (
    select enqueued_at from pgmq.q_node_heartbeats
    where case when vt <= public.fleet_now() or read_ct > 0
      then headers -> 'asked_role' is null and message ->> 'action' = 'heartbeat' end
    order by msg_id limit 1), '0')
$$;

-- The nodes of which a heartbeat still waits, as their messages name them: they live, whatever their last status. Of
-- those that strangers have sent, a node's own count, once they are due; those with a proof are known to
-- schema/nodes/heard.py. What is due later is not looked into: anybody may let large messages wait. Called by the
-- offline sweeps.
create or replace function public.nodes_in_queue() returns text[]
language sql stable
as $$
  select array(
    select distinct message ->> 'node_id' from pgmq.q_node_heartbeats
    where case
      when vt > public.fleet_now() + interval '1 minute' and read_ct = 0 then false
      when headers -> 'asked_role' is null then message ->> 'action' = 'heartbeat'
      when headers ->> 'asked_role' = 'NODE' and (vt <= public.fleet_now() or read_ct > 0)
        then message ->> 'action' = 'heartbeat' and headers ->> 'asked_by' = message ->> 'node_id'
      end)
$$;

-- An interval as people say it: '5 minutes', '90 seconds'. Called by the offline sweeps.
create or replace function public.in_words(span interval) returns text
language sql immutable
as $$
  select case when seconds >= 120 and mod(seconds, 60) = 0 then format('%s minutes', seconds / 60)
    else format('%s seconds', seconds) end
  from (select round(extract(epoch from span))::integer as seconds) s
$$;

-- Begins a sweep: one at a time, by the lock of its row. Returns what the last one wrote down, with watching_since as it is
-- now. Sweeps come one after the other (heartbeat.sweep in public.periodic, and five seconds); where one did not, or
-- the clock was put back, something was away: the workers, the queue, or the database itself, which may have been down,
-- frozen, promoted or restored. Whatever it was, nobody could be heard meanwhile. Called by the offline sweeps.
create or replace function public.begin_sweep(of_machine text) returns public.offline_sweeps
language plpgsql
as $$
declare
  fleet_time constant timestamptz := public.fleet_now();
  sweep public.offline_sweeps;
begin
  insert into public.offline_sweeps (machine, swept_at, alive, silent, marked)
  values (of_machine, fleet_time, 0, 0, 0) on conflict (machine) do nothing;
  select * into sweep from public.offline_sweeps where machine = of_machine for no key update;
  if sweep.watching_since is null
    or sweep.swept_at > fleet_time
    or sweep.swept_at < fleet_time - interval '5 seconds' - coalesce(
      (select every from public.periodic where name = 'heartbeat.sweep'), '15 seconds')
  then
    sweep.watching_since := fleet_time;
  end if;
  return sweep;
end
$$;

-- When a node was heard last. A time that has not come yet is of a clock that was put back since: it has been heard as
-- long as we have watched. Called by the offline sweeps.
create or replace function public.heard_at(told timestamptz, watching_since timestamptz) returns timestamptz
language sql stable
as $$ select case when told <= public.fleet_now() then told else watching_since end $$;

-- Whether more than that share of at least three are silent. Called by why_unlikely and note_sweep.
create or replace function public.too_many(silent bigint, alive bigint, most_share float8) returns boolean
language sql immutable
as $$ select alive >= 3 and silent > most_share * alive $$;

-- For how long nodes have to be silent to be believed gone although most of them are. Called by the offline sweeps and
-- why_unlikely.
create or replace function public.surely_silent(silence interval) returns interval
language sql immutable
as $$ select 3 * silence $$;

-- Why nobody can be known to be silent now: our own absence is no dead fleet. Null if it can. Called by the offline sweeps.
create or replace function public.why_unwatched(sweep public.offline_sweeps, silence interval) returns text
language sql stable
as $$
  select case when public.fleet_now() - sweep.watching_since < silence
    then format('nobody looked before %s UTC: from then on nodes have %s to be heard',
      to_char(sweep.watching_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), public.in_words(silence)) end
$$;

-- Why nobody should be marked now although some are silent: a silent queue is no dead fleet, either. That has an end, as
-- anybody may fill the queue: those of which nothing waits there are marked when they are surely silent. Null if there is
-- no such reason. Called by the offline sweeps.
create or replace function public.why_behind(silence interval) returns text
language sql stable
as $$
  select case when public.heartbeat_lag() > silence / 2
    then format('heartbeats wait in the queue for %s', public.in_words(public.heartbeat_lag())) end
$$;

-- Up to when what was sent has been heard: by the last sweep, and before what waits; unless so much does (behind) that only
-- those are marked of which nothing waits. Called by the offline sweeps.
create or replace function public.known_until(sweep public.offline_sweeps, behind text) returns timestamptz
language sql stable
as $$
  select least(sweep.swept_at, case when behind is null then public.fleet_now() - public.heartbeat_lag() end)
$$;

-- Why those who are silent may be alive all the same: when most go at once, we or the network are the likelier cause, and
-- one that is not back when the others are gets as long as a silence may be. A person may know better. Null if there is no
-- such reason. Called by the offline sweeps.
create or replace function public.why_unlikely(
  sweep public.offline_sweeps, silent bigint, alive bigint, silence interval, most_share float8)
returns text
language sql stable
as $$
  select case
    when public.too_many(silent, alive, most_share)
      then format('%s of %s would go offline at once, more than PGFLEET_MASS_OUTAGE_SHARE (%s)', silent, alive, most_share)
    when public.fleet_now() < sweep.patient_until
      then format('most were silent a while ago: %s are not back yet', silent)
  end || format('; each is believed gone after %s of silence, or by `pgfleet %s believe`',
    public.in_words(public.surely_silent(silence)),
    case sweep.machine when 'node' then 'nodes' else 'clusters' end)
$$;

-- Why nodes are believed gone although that is unlikely: 'by ada', 'after 15 minutes'; null where it is likely. Called by
-- the offline sweeps.
create or replace function public.belief(believed_by text, unlikely text, silence interval) returns text
language sql stable
as $$
  select case when believed_by is not null then 'by ' || believed_by
    when unlikely is not null then 'after ' || public.in_words(public.surely_silent(silence)) end
$$;

-- The reason of a node that was marked offline. Called by the offline sweeps.
create or replace function public.silence_reason(silence interval, belief text) returns text
language sql stable
as $$ select format('Heartbeat timeout after %s', public.in_words(silence)) || coalesce(', believed ' || belief, '') $$;

-- Writes down what a sweep saw, and returns it. why: what kept it from marking some that are silent. belief: why it marked
-- some although it was unlikely. Called by the offline sweeps.
create or replace function public.note_sweep(
  sweep public.offline_sweeps, were_alive bigint, were_silent bigint, were_marked bigint, why text, belief text,
  silence interval, most_share float8)
returns public.offline_sweeps
language sql
as $$
  update public.offline_sweeps known set
    swept_at = public.fleet_now(), alive = were_alive, silent = were_silent, marked = were_marked,
    watching_since = sweep.watching_since,
    held_back = why,
    held_back_since = case when why is not null then coalesce(known.held_back_since, public.fleet_now()) end,
    -- Not where the queue explains it: then what was heard is known to the second.
    patient_until = case
      when note_sweep.belief is not null and why is null then null
      when public.too_many(were_silent, were_alive, most_share) and public.heartbeat_lag() <= silence / 2
        then public.fleet_now() + silence
      else known.patient_until end,
    believed = case when were_marked > 0 and note_sweep.belief is not null then were_marked else known.believed end,
    believed_at = case when were_marked > 0 and note_sweep.belief is not null then public.fleet_now()
      else known.believed_at end,
    belief = case when were_marked > 0 then coalesce(note_sweep.belief, known.belief) else known.belief end
  where known.machine = sweep.machine
  returning known.*
$$;
