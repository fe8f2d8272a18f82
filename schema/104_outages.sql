-- 104: how outages (023) begin, are probed, and end. Workers call these functions (workers/runtime/outside/breakers.py).

-- How long a dependency is left alone after so many probes in vain: a second, then ever longer.
create or replace function public.probe_pause(probes integer, longest interval) returns interval
language sql immutable parallel safe
as $$ select least(longest, interval '1 second' * power(2, least(probes, 20))) $$;

-- Begins an outage; false where all know of it already. `after` is how long the dependency asked to be left alone.
create or replace function public.begin_outage(
  of_dependency text, of_calls text, of_queue text, with_code text, why text, longest interval, after interval)
returns boolean
language sql
as $$
  with begun as (
    insert into public.outages (dependency, calls, queue, code, reason, retry_at)
    values (of_dependency, of_calls, of_queue, with_code, why,
      public.fleet_now() + coalesce(after, public.probe_pause(0, longest)))
    on conflict (dependency, calls) where ended_at is null do nothing
    returning 1)
  select exists (select from begun)
$$;

-- The outages of a queue that are to be probed now, by the caller alone: the others leave them alone meanwhile.
create or replace function public.take_probes(of_queue text, longest interval)
returns table (dependency text, calls text)
language sql
as $$
  update public.outages o
  set probes = o.probes + 1, retry_at = public.fleet_now() + public.probe_pause(o.probes + 1, longest)
  where o.outage_id in (
    select due.outage_id from public.outages due
    where due.queue = of_queue and due.ended_at is null and due.retry_at <= public.fleet_now()
    order by due.outage_id
    for update skip locked)
  returning o.dependency, o.calls
$$;

-- Notes what a probe was answered instead of an answer.
create or replace function public.note_outage(
  of_dependency text, of_calls text, with_code text, why text, after interval)
returns void
language sql
as $$
  update public.outages
  set code = with_code, reason = why, retry_at = coalesce(public.fleet_now() + after, retry_at)
  where dependency = of_dependency and calls = of_calls and ended_at is null
$$;

-- Makes due what waits in a queue for a dependency, so many messages at most. How many that were. What a worker has in its hands stays
-- there: it has been claimed since it was put back, or is locked.
create or replace function public.wake_held(of_queue text, of_dependency text, most bigint) returns bigint
language plpgsql
as $$
declare
  woken bigint;
begin
  execute format(
    'with held as (
       select msg_id from pgmq.%1$I
       where vt > public.fleet_now() and headers #>> ''{pgfleet,waits_for}'' = $1
         and headers #>> ''{pgfleet,read}'' = read_ct::text
       order by msg_id
       limit $2
       for update skip locked)
     update pgmq.%1$I q set vt = public.fleet_now() where q.msg_id = any (array(select msg_id from held))',
    'q_' || of_queue)
  using of_dependency, most;
  get diagnostics woken = row_count;
  if woken > 0 then
    perform public.notify_workers(of_queue);
  end if;
  return woken;
end
$$;

-- Ends an outage, with which what waited for it goes on; false where it had ended already. More messages than can be
-- written in time are woken by workers' next looks.
create or replace function public.end_outage(of_dependency text, of_calls text) returns boolean
language plpgsql
as $$
declare
  of_queue text;
begin
  update public.outages set ended_at = public.fleet_now()
  where dependency = of_dependency and calls = of_calls and ended_at is null
  returning queue into of_queue;
  if of_queue is null then
    return false;
  end if;
  perform public.wake_held(of_queue, of_dependency, 100000);
  return true;
end
$$;
