-- 135: what those who run the fleet look at: what was in a dead letter, without secrets; who works; what goes through queues.

-- A message as it may be shown: no value under a name that tells of a secret, no variable of a container, no long text whole,
-- and no more than a hundred fields or parts at a depth of at most six. Called by letter_body.
create or replace function public.shown_json(value jsonb, depth integer default 0) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  most constant integer := 100;
begin
  if jsonb_typeof(value) in ('object', 'array') and depth >= 6 then
    return '"..."';
  elsif jsonb_typeof(value) = 'object' then
    return (
      select coalesce(jsonb_object_agg(left(f.key, 100), case
          when f.key ~* '(secret|token|passw|passphrase|credential|cookie|private|signature|kubeconfig|api.?key|access.?key|authorization)'
            or f.key in ('command', 'yaml_config', 'env', 'key') then '"***"'::jsonb
          when f.key = 'env_vars' then case jsonb_typeof(f.value)
            when 'object' then (select coalesce(jsonb_object_agg(left(v.name, 100), '***'), '{}') from (
              select name from jsonb_object_keys(f.value) name limit most) v)
            else '"***"' end
          else public.shown_json(f.value, depth + 1) end), '{}')
      from (select key, e.value from jsonb_each(value) e limit most) f);
  elsif jsonb_typeof(value) = 'array' then
    return (
      select coalesce(jsonb_agg(public.shown_json(p.part, depth + 1) order by p.number), '[]')
      from jsonb_array_elements(value) with ordinality p (part, number) where p.number <= most);
  elsif jsonb_typeof(value) = 'string' and length(value #>> '{}') > 500 then
    return to_jsonb(left(value #>> '{}', 500) || '...');
  end if;
  return value;
end
$$;

-- What was in a dead letter, as it may be shown: its message, null where that is too large; and who asked, as the door (105) has
-- stamped it, null where a worker or the owner sent it. No row for whom the API speaks for, unless they are operators. Called by
-- schema/reads/pages/letter.py.
create or replace function public.letter_shown(number bigint) returns table (message jsonb, sender jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select case when public.json_bytes(d.message) <= 262144 then public.shown_json(d.message) end, public.stamp_of(d.headers)
  from public.dead_letters d
  where d.dead_letter_id = number and coalesce(public.asking_role() in ('DEVOPS', 'ADMIN'), true);
end
$$;
revoke execute on function public.letter_shown(bigint) from public;

-- A worker says that it is there: which process (`disk@host:17`), of which queue, of what version, and how many messages it
-- has in hand. One that was not heard of for so long that it must have ended has begun anew. Called by workers every few seconds.
create or replace function public.note_worker(me text, of_queue text, with_version text, has_in_hand integer) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
  insert into public.workers as w (worker, queue, version, in_hand)
  values (left(me, 200), of_queue, left(with_version, 60), greatest(has_in_hand, 0))
  on conflict (worker) do update
    set started_at = case when w.seen_at < public.fleet_now() - interval '5 minutes' or w.version <> excluded.version
        then public.fleet_now() else w.started_at end,
      seen_at = public.fleet_now(), in_hand = excluded.in_hand, version = excluded.version, queue = excluded.queue
    where w.seen_at < public.fleet_now() - interval '4 s' or w.in_hand <> excluded.in_hand
$$;
revoke execute on function public.note_worker(text, text, text, integer) from public;

-- How many messages have come into each queue and have gone out of it, since the server began to count: only differences mean
-- something. A message that is put off is a new one: it has gone, and has come again. Read by fleet_figures (185) and pages.
create or replace view public.queue_flow as
select q.queue_name as queue, s.state, coalesce(s.number, 0) as number
from public.fleet_queues q
cross join lateral (select to_regclass(format('pgmq.%I', 'q_' || q.queue_name))::oid as id) t
cross join lateral (
  values ('in', pg_stat_get_tuples_inserted(t.id)), ('out', pg_stat_get_tuples_deleted(t.id))) s (state, number);
