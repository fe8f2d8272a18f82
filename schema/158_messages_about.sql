-- 158: what waits in a queue about one row, and what was given up, for whoever may not read messages: what is asked, and when; never a body.

-- The messages about a row that are in a queue, by the time they are due. `field` is the one by which they name it. Whom
-- `pgfleet serve` speaks for is told of rows alone that they may see. Called by schema/reads/about.py.
create or replace function public.messages_about(of_queue text, field text, of_row text)
returns table (msg_id bigint, vt timestamptz, read_ct integer, action text, later boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  owner_name constant text := case field
    when 'reservation_id' then (select r.user_id from public.reservations r where r.reservation_id = of_row)
    when 'operation_id' then (select o.user_id from public.disk_operations o where o.operation_id::text = of_row)
    when 'user_id' then of_row end;
begin
  if coalesce(field not in ('reservation_id', 'operation_id', 'user_id'), true)
    or not exists (select from public.fleet_queues q where q.queue_name = of_queue)
    or public.serving_role() is not null and public.may_see(owner_name) is not true
  then
    return;
  end if;
  return query execute format(
    'select q.msg_id, q.vt, q.read_ct, left(q.message ->> ''action'', 60), q.vt > public.fleet_now()
     from pgmq.%1$I q where left(q.message ->> %2$L, 36) = left($1, 36) and q.message ->> %2$L = $1
     order by q.vt, q.msg_id limit 1000', 'q_' || of_queue, field) using of_row;
end
$$;

-- By the row that they are about, as somebody looks at each reservation and each operation while it goes on: all of a
-- queue would be read for each look. What others send may be of any length.
do $$
begin
  if to_regclass('pgmq.q_gpu_reservations_row_idx') is null then
    create index q_gpu_reservations_row_idx on pgmq.q_gpu_reservations (left(message ->> 'reservation_id', 36));
  end if;
  if to_regclass('pgmq.q_disk_operations_row_idx') is null then
    create index q_disk_operations_row_idx on pgmq.q_disk_operations (left(message ->> 'operation_id', 36))
      where message ->> 'operation_id' is not null;
  end if;
end
$$;

revoke execute on function public.messages_about(text, text, text) from public;

-- The dead letters about a row, the last thousand, the newest first: what was asked, and what became of it; never a body. Whom `pgfleet serve`
-- speaks for is told of their own messages alone, and an operator of all. Called by schema/reads/about.py.
create or replace function public.letters_about(of_queue text, of_row text)
returns table (dead_letter_id bigint, died_at timestamptz, action text, reason text, verdict text, attempts integer,
  answer text, answered_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  asks_as constant text := public.serving_role();
begin
  return query
  select l.dead_letter_id, l.died_at, left(l.message ->> 'action', 60), l.reason, l.verdict, l.attempts, l.answer, l.answered_at
  from public.dead_letters l
  where l.queue = of_queue and l.row_id = of_row
    and (asks_as is null or asks_as in ('DEVOPS', 'ADMIN')
      or asks_as = 'USER' and l.message ->> 'user_id' = public.request_user())
  order by l.dead_letter_id desc limit 1000;
end
$$;

revoke execute on function public.letters_about(text, text) from public;
