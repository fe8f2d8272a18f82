-- 169: what is counted of messages for logins that may read none.

-- How many messages of a queue of ours wait, by the dependency that they wait for. Called by `pgfleet queues` and the API.
create or replace function public.messages_held(of_queue text) returns table (waits_for text, number bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from public.fleet_queues q where q.queue_name = of_queue) then
    return query execute format(
      'select q.headers -> ''pgfleet'' ->> ''waits_for'', count(*) from pgmq.%I q
       where q.headers -> ''pgfleet'' ->> ''waits_for'' is not null group by 1', 'q_' || of_queue);
  end if;
end
$$;
revoke execute on function public.messages_held(text) from public;
