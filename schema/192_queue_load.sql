-- 192: how much each kind of worker has to do, for whoever decides how many of them there are (KEDA; deploy/chart).

-- A row for each kind: messages that are ready, messages in hand, and for how many seconds the oldest has been ready (0:
-- none is), each counted as queue_counts (185) does. What is in hand counts, so that a worker with work does. Periodic work
-- that is due counts as one that is ready: somebody has to be there to do it. A queue that is paused has nothing ready, as
-- nobody would take it. Read through the view queue_load.
create or replace function public.queue_loads()
returns table (kind text, queue text, ready bigint, in_hand bigint, oldest_s double precision)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  most constant integer := 10000;
  due bigint;
begin
  for kind in select k.kind from public.fleet_kinds k order by k.kind loop
    execute format(
      'select substr(r.thing, 8) from public.%I r where r.may = ''work'' and r.thing like ''pgmq.q\_%%''',
      'rights_of_' || kind) into queue;
    select c.ready, c.in_hand, c.oldest_ready_s into ready, in_hand, oldest_s from public.queue_counts(queue, most) c;
    select count(*) into due from public.periodic p where p.queue = queue_loads.queue and p.next_at <= public.fleet_now();
    ready := least(ready + sign(due)::bigint, most);
    if public.is_paused(queue) then
      ready := 0;
      oldest_s := 0;
    end if;
    return next;
  end loop;
end
$$;
revoke execute on function public.queue_loads() from public;

-- The same as a view, which queries of other programs name.
create or replace view public.queue_load as select l.kind, l.queue, l.ready, l.in_hand, l.oldest_s from public.queue_loads() l;
