-- 101: how queues are made and ring. A kind makes its queue in a file of its own, with `select
-- public.create_fleet_queue(...)`; the rest is found.

-- Makes a queue, once: PGMQ's own, with the index of our claim. Any number of callers at once; a queue that is there
-- and in use is not locked. Lower-case names of at most 40 characters. Called by create_fleet_queue, and by services
-- that make a node's queue for replies.
create or replace function public.create_queue(queue text) returns void
language plpgsql
as $$
declare
  queue_table constant text := 'q_' || queue;
begin
  if queue !~ '^[a-z0-9_]{1,40}$' then
    raise exception 'a queue can''t be called %', queue
      using errcode = '22023', hint = 'Use a to z, 0 to 9 and _, at most 40 characters.';
  end if;
  perform pg_advisory_xact_lock(hashtext('pgfleet.create_queue'), hashtext(queue));
  if not exists (select from pgmq.meta where queue_name = queue) then
    perform pgmq.create(queue);
  end if;
  if to_regclass(format('pgmq.%I', queue_table || '_claim_idx')) is not null then
    return;
  end if;
  -- The claim walks this index in order. It serves whoever used pgmq's index on vt alone, too: that one
  -- would only be a second index to write at every claim.
  execute format('create index %I on pgmq.%I (vt, msg_id)', queue_table || '_claim_idx', queue_table);
  execute format('drop index if exists pgmq.%I', queue_table || '_vt_idx');
  -- A queue is rewritten many times an hour whatever its size: dead rows must go at once.
  execute format(
    'alter table pgmq.%I set (
      autovacuum_vacuum_scale_factor = 0.01,
      autovacuum_vacuum_threshold = 200,
      autovacuum_vacuum_cost_delay = 0,
      autovacuum_analyze_scale_factor = 0.05)',
    queue_table);
end
$$;

-- Wakes the workers of a queue: at most one NOTIFY per commit, and none while another transaction that has already
-- rung is still committing, so that no producer waits for another. What was sent without a NOTIFY is found by the
-- safety poll. The trigger of every queue of the fleet.
create or replace function public.ring() returns trigger
language plpgsql
as $$
begin
  if pg_try_advisory_xact_lock(hashtext('pgfleet.ring'), tg_relid::integer) then
    perform pg_notify(tg_argv[0], '');
  end if;
  return null;
end
$$;

-- Makes a queue ring on the channel of its own name, and so a queue of the fleet (fleet_queues). A queue that rings
-- already is not locked. Called by create_fleet_queue.
create or replace function public.ring_on_send(queue text) returns void
language plpgsql
as $$
declare
  queue_table constant regclass := format('pgmq.%I', 'q_' || queue);
begin
  if not exists (select from pg_trigger where tgrelid = queue_table and tgname = 'ring') then
    execute format(
      'create trigger ring after insert on %s for each statement execute function public.ring(%L)', queue_table, queue);
  end if;
end
$$;

-- The queues of the fleet: those that ring. Queues of other programs in the same database are theirs. Read by
-- grant_fleet_roles and the doctor. (It does not refer to PGMQ's tables, so that no upgrade of PGMQ has to drop it.)
create or replace view public.fleet_queues as
select substr(c.relname::text, 3) as queue_name
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'pgmq' and t.tgfoid = 'public.ring()'::regprocedure;

-- Makes the queue of a kind: it rings, workers have rights on it (grant_fleet_roles), and its archive is kept for 30
-- days unless an operator says otherwise in public.retention. Called by the file of the kind.
create or replace function public.create_fleet_queue(queue text) returns void
language plpgsql
as $$
begin
  perform public.create_queue(queue);
  perform public.ring_on_send(queue);
  insert into public.retention (table_name, time_column, keep, by_day)
  values ('pgmq.a_' || queue, 'archived_at', '30 days', false)
  on conflict (table_name) do nothing;
end
$$;
