-- 101: how queues are made and ring, and how large a message is. A kind makes its queue in a file of its own, with `select
-- public.create_fleet_queue(...)`; the rest is found.

-- How many bytes a value takes as text. A mebibyte is more than anybody is to read: of what is above it the answer is
-- only that, as it is not written out, nor unpacked where that can be told without. A kilobyte may unpack to a hundred,
-- and a number of six characters (1e131071) to 131,072. Called by weigh_claim (106) for what is not small.
create or replace function public.json_bytes(value jsonb) returns integer
language plpgsql immutable strict parallel safe
as $$
declare
  mebibyte constant integer := 1048576;
  stored constant integer := pg_column_size(value);
  unpacked integer;
  long_numbers boolean := false;
  digits integer;
  written integer := 0;
begin
  if stored > mebibyte then
    return stored;
  end if;
  unpacked := pg_column_size(array[value]);
  if unpacked > 4 * mebibyte then
    return unpacked;
  end if;
  -- A path does not see how long a fraction is, but sees sooner than others that a number is large. Apart, as a
  -- condition with a query in it would cost each small message as much as ten of them.
  if unpacked > 65536 then
    long_numbers := exists (
      select from jsonb_array_elements(jsonb_path_query_array(value, 'strict $.** ? (@.type() == "number")')) number
      where octet_length(number::text) > 100);
  elsif unpacked > 1024 then
    long_numbers := value @? 'strict $.** ? (@.type() == "number" && (@ > 1e99 || @ < -1e99))';
  end if;
  if long_numbers then
    for digits in
      select octet_length(number::text)
      from jsonb_array_elements(jsonb_path_query_array(value, 'strict $.** ? (@.type() == "number")')) number
    loop
      written := written + digits;
      if written > mebibyte then
        return written;
      end if;
    end loop;
  end if;
  return octet_length(value::text);
end
$$;

-- Makes a queue, once: PGMQ's own, with the index of our claim; one whose index is of an older kind gets ours. Any
-- number of callers at once; a queue that is there, in use and as it should be is not locked. Lower-case names of at most 40 characters. Called by create_fleet_queue, and by services
-- that make a node's queue for replies.
create or replace function public.create_queue(queue text) returns void
language plpgsql
as $$
declare
  queue_table constant text := 'q_' || queue;
  claim_index constant text := queue_table || '_claim_idx';
  owner constant regrole := (select relowner from pg_class where oid = 'public.schema_migrations'::regclass);
begin
  if queue !~ '^[a-z0-9_]{1,40}$' then
    raise exception 'a queue can''t be called %', queue
      using errcode = '22023', hint = 'Use a to z, 0 to 9 and _, at most 40 characters.';
  end if;
  -- Who makes the same queue at the same time waits for what the other writes to the catalog, and looks again.
  for attempt in 1..3 loop
    begin
      if not exists (select from pgmq.meta where queue_name = queue)
        or to_regclass(format('pgmq.%I', queue_table)) is null or to_regclass(format('pgmq.%I', 'a_' || queue)) is null
      then
        perform pgmq.create(queue);
        -- Whoever makes it by hand is one of several who may migrate, and it is to be all of theirs.
        if pg_has_role(owner, 'member') then
          execute format('alter table pgmq.%I owner to %s', queue_table, owner);
          execute format('alter table pgmq.%I owner to %s', 'a_' || queue, owner);
        end if;
        execute format('drop index if exists pgmq.%I', queue_table || '_vt_idx');
      end if;
      if not exists (
        select from pg_trigger where tgrelid = to_regclass(format('pgmq.%I', queue_table)) and tgname = 'door')
      then
        perform public.close_door(queue, '{}', false);
      end if;
      if pg_get_indexdef(to_regclass(format('pgmq.%I', claim_index))) like '%(msg_id + 0)%' then
        return;
      end if;
      -- The claim walks this index in order. It serves whoever used pgmq's index on vt alone, too: that one
      -- would only be a second index to write at every claim. It is of no use for finding messages by their numbers: to
      -- a planner that believes the queue to be empty, a walk over all of it would look as cheap as the primary key.
      execute format('drop index if exists pgmq.%I', claim_index);
      execute format('create index %I on pgmq.%I (vt, (msg_id + 0))', claim_index, queue_table);
      execute format('drop index if exists pgmq.%I', queue_table || '_vt_idx');
      -- A queue is rewritten many times an hour whatever its size: dead rows must go at once.
      execute format(
        'alter table pgmq.%I set (
          autovacuum_vacuum_scale_factor = 0.01,
          autovacuum_vacuum_threshold = 200,
          autovacuum_vacuum_cost_delay = 0,
          autovacuum_analyze_scale_factor = 0.05)',
        queue_table);
      return;
    exception when unique_violation or duplicate_table or duplicate_object then
      if attempt = 3 then
        raise;
      end if;
    end;
  end loop;
end
$$;

-- Notifies the workers of a queue, unless the server's queue of notifications is filling up: any login can fill it, by
-- listening in a transaction that it leaves open, and then every commit with a NOTIFY would fail. Without one, workers
-- find what was sent by their safety poll. Called by whatever makes messages due.
create or replace function public.notify_workers(queue text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify(queue, '');
  end if;
end
$$;

-- Makes a queue ring on the channel of its own name, and so a queue of the fleet (fleet_queues): before each insert its
-- trigger `ring` wakes the workers. A queue that rings already is not locked. Called by create_fleet_queue.
--
-- There is at most one NOTIFY per commit, and none where a message became due in the last tenth of a second that nobody
-- has taken yet: its workers were woken, and look again before they rest. What that misses is found by the safety poll. A
-- commit with a NOTIFY waits for all others on the server, each until it is on disk: of 32 producers, 200 to 350 commits
-- a second with one each, and 1,900 to 2,400 as it is here, as many as with no NOTIFY at all. It looks no further back, as
-- what was taken leaves its place in the index behind. No lock decides, as any login could hold it.
--
-- The trigger has a function of each queue, public.ring_for_<queue>, whose plan is kept: to plan it anew took half the time
-- of a send. It may be from when the queue was empty, and so is held to the index of the claim.
create or replace function public.ring_on_send(queue text) returns void
language plpgsql
as $make$
declare
  queue_table constant text := format('pgmq.%I', 'q_' || queue);
  ring constant text := format('public.%I()', 'ring_for_' || queue);
begin
  execute format(
    'create or replace function %s returns trigger
     language plpgsql security definer
     set search_path = pg_catalog, pg_temp
     set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
     as %L', ring, format($body$
declare
  awake boolean;
begin
  select true into awake from %s
  where vt <= public.fleet_now() and vt > public.fleet_now() - interval '0.1 s'
  order by vt desc
  limit 1;
  if awake is null then
    perform public.notify_workers(%L);
  end if;
  return null;
end
$body$, queue_table, queue));
  execute format('revoke execute on function %s from public', ring);
  -- 2: before.
  if not exists (
    select from pg_trigger
    where tgrelid = queue_table::regclass and tgname = 'ring' and tgtype & 2 = 2 and tgfoid = ring::regprocedure)
  then
    execute format('create or replace trigger ring before insert on %s for each statement execute function %s',
      queue_table, ring);
  end if;
end
$make$;

-- The queues of the fleet: those that ring. Queues of other programs in the same database are theirs. Read by
-- grant_fleet_roles and the doctor. (It does not refer to PGMQ's tables, so that no upgrade of PGMQ has to drop it.)
create or replace view public.fleet_queues as
select substr(c.relname::text, 3) as queue_name
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_proc p on p.oid = t.tgfoid
-- Before there was a function of each queue, it was public.ring().
where n.nspname = 'pgmq' and t.tgname = 'ring' and p.pronamespace = 'public'::regnamespace
  and p.proname in ('ring', 'ring_for_' || substr(c.relname::text, 3));

-- Without a list of actions, as it was before there were doors.
-- squawk-ignore ban-drop-function
drop function if exists public.create_fleet_queue(text);

-- Makes the queue of a kind: it rings, workers have rights on it (grant_fleet_roles), strangers send the actions that it
-- publishes (105), and its archive is kept for 30 days unless an operator says otherwise in public.retention. Called by
-- the file of the kind.
create or replace function public.create_fleet_queue(queue text, published text[] default '{}') returns void
language plpgsql
as $$
begin
  perform public.create_queue(queue);
  perform public.close_door(queue, published, true);
  perform public.ring_on_send(queue);
  perform public.make_claim(queue);
  insert into public.retention (table_name, time_column, keep, by_day)
  values ('pgmq.a_' || queue, 'archived_at', '30 days', false)
  on conflict (table_name) do nothing;
end
$$;

-- Queues of before.
select public.ring_on_send(queue_name) from public.fleet_queues;
