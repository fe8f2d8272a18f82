-- 106: the claim of each queue: which messages a worker takes, how many of them, and what it learns of each. Python's
-- side of it is schema/queue/claims.py.

-- Which of these messages a claim takes, in the order in which they are due: until 1 MiB of text is exceeded, or 4 MiB
-- were looked at to measure them; the first always. `large` are those of them that are larger than 1 MiB by themselves,
-- which nobody loads: each counts as a MiB that was looked at. Called by claims whose messages are not all small.
create or replace function public.weigh_claim(queue regclass, inout ids bigint[], out large bigint[])
language plpgsql
as $$
declare
  mebibyte constant integer := 1048576;
  due constant bigint[] := ids;
  loaded bigint := 0;
  looked_at bigint := 0;
  kept integer;
  bytes integer;
  m record;
begin
  ids := null;
  for m in execute format(
    'select msg_id, message, headers from (select * from %s where msg_id = any ($1) offset 0) q order by vt, msg_id',
    queue) using due
  loop
    kept := coalesce(pg_column_size(m.message), 0) + coalesce(pg_column_size(m.headers), 0);
    if kept <= mebibyte then
      kept := pg_column_size(array[m.message, m.headers]);
    end if;
    if kept <= 8192 then
      bytes := coalesce(octet_length(m.message::text), 0) + coalesce(octet_length(m.headers::text), 0);
    else
      bytes := coalesce(public.json_bytes(m.message), 0) + coalesce(public.json_bytes(m.headers), 0);
    end if;
    ids := ids || m.msg_id;
    if bytes > mebibyte then
      large := large || m.msg_id;
      kept := greatest(kept, mebibyte);
    else
      loaded := loaded + bytes;
    end if;
    looked_at := looked_at + kept;
    exit when loaded > mebibyte or looked_at > 4 * mebibyte;
  end loop;
end
$$;

-- Makes the claim of a queue, public.claim_<queue>. It takes up to `most` messages that are due, in their order and of
-- 1 MiB of text (weigh_claim), and sets `vt` ahead by the lease; what another transaction has locked is skipped. The
-- rows: each message with its token, without the body of what is too large; where there is none, one that says when the
-- next is due, if that is within ten seconds; none while the queue is paused. `due_s` is in how many seconds it is due: of a
-- message 0 or less. `mark` is written into our part of the headers, which are NULL where the message has none of its own.
-- With `since_s`, what was due before that is not looked at (schema/queue/front.py).
--
-- A function of each queue, as its plans are kept: to plan the claim takes longer than to claim ten messages. They may
-- have been made while the queue was empty, and so are held to its indexes: each is walked in order, or asked for the
-- numbers of messages, which is right however many there are. Called by create_fleet_queue.
create or replace function public.make_claim(queue text) returns void
language plpgsql
as $make$
declare
  body constant text := format($body$
#variable_conflict use_column
declare
  ids bigint[];
  dues float8[];
  large bigint[];
  heavy boolean;
  ours constant jsonb := jsonb_build_object('claim', mark);
  alone constant jsonb := jsonb_build_object('pgfleet', ours);
begin
  if public.is_paused(%2$L) then
    return;
  end if;
  -- What is small is written out to be measured, one after the other until that is enough; of anything else it may take
  -- long.
  with picked as (
    select msg_id, vt, message, headers from %1$s
    where vt <= public.fleet_now()
      and vt >= coalesce(public.fleet_now() - make_interval(secs => since_s), '-infinity'::timestamptz)
    order by vt, msg_id + 0
    limit most
    for update skip locked
  ), measured as (
    select sum(case
      when coalesce(pg_column_size(message), 0) + coalesce(pg_column_size(headers), 0) > 8192
        or pg_column_size(array[message, headers]) > 8192 then 1048577
      else coalesce(octet_length(message::text), 0) + coalesce(octet_length(headers::text), 0)
      end) over (rows unbounded preceding) as so_far
    from picked
  )
  -- date_part, as extract counts in numeric, which takes 2 us a message.
  select p.ids, p.dues, exists (select from measured where so_far > 1048576)
  from (
    select array_agg(msg_id) as ids, array_agg(date_part('epoch', vt - public.fleet_now())) as dues from picked) p
  into ids, dues, heavy;

  if ids is null then
    return query
      select null::bigint, null::integer, null::float8, null::jsonb, null::jsonb, null::boolean, null::boolean,
        extract(epoch from min(vt) - public.fleet_now())::float8
      from %1$s where vt > public.fleet_now() and vt < public.fleet_now() + interval '10 seconds';
    return;
  end if;
  if heavy then
    -- The first of them, in the same order: each is still at the place of its due time.
    select w.ids, w.large into ids, large from public.weigh_claim(%1$L, ids) w;
  end if;
  -- What a crash of the server forgets is due again.
  if not durable then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  return query
    update %1$s q
    set vt = public.fleet_now() + lease, last_read_at = public.fleet_now(),
      -- The number only has to be another one each time.
      read_ct = case when q.read_ct < 2147483647 then q.read_ct + 1 else 1 end,
      headers = case
        when q.headers is null or q.msg_id = any (large) then alone
        when jsonb_typeof(q.headers -> 'pgfleet') = 'object' then q.headers || jsonb_build_object('pgfleet',
          (q.headers -> 'pgfleet') || case when q.headers -> 'pgfleet' ? 'claim' then ours || '{"unanswered": true}'
            else ours end)
        when jsonb_typeof(q.headers) = 'object' then q.headers || alone
        else alone
      end
    where q.msg_id = any (ids)
    returning q.msg_id, q.read_ct, date_part('epoch', q.enqueued_at),
      case when (q.msg_id = any (large)) is not true then q.message end,
      case when q.headers <> alone then q.headers end,
      q.read_ct <> 1 and q.headers #> '{pgfleet,unanswered}' is not null,
      (q.msg_id = any (large)) is true,
      dues[array_position(ids, q.msg_id)];
end
$body$, format('pgmq.%I', 'q_' || queue), queue);
begin
  -- As it was before claims could begin in the middle.
  execute format('drop function if exists public.%I(integer, interval, boolean, text)', 'claim_' || queue);
  execute format(
    'create or replace function public.%I(
       most integer, lease interval, durable boolean, mark text, since_s float8 default null)
     returns table (
       msg_id bigint, read_ct integer, enqueued_s float8, message jsonb, headers jsonb, unanswered boolean,
       too_large boolean, due_s float8)
     language plpgsql
     set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
     set plan_cache_mode = force_generic_plan
     as %L', 'claim_' || queue, body);
end
$make$;

-- The queues of before.
select public.make_claim(queue_name) from public.fleet_queues;
