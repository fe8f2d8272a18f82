-- 007: the queues. PGMQ's tables and functions are the wire contract: producers in any language call pgmq.send,
-- workers claim and settle. Each queue gets an index for our claim and a vacuum that keeps up with it.

-- PGMQ is an extension where the server offers it. `pgfleet migrate` puts its SQL in place elsewhere.
do $$
begin
  if to_regprocedure('pgmq.create(text)') is not null then
    return;
  end if;
  if not exists (select from pg_available_extensions where name = 'pgmq') then
    raise exception 'PGMQ is not installed, and this server does not offer it as an extension'
      using errcode = 'PF001',
        hint = 'Install its SQL, then run this file again: python -c "from pgmq.install import '
          'get_embedded_install_sql as s; print(s())" | psql "$DATABASE_URL"';
  end if;
  create extension pgmq;
end
$$;

-- Makes a queue as our workers need it, once: PGMQ's own, with the index of our claim. Any number of callers
-- at once; a queue that is there and in use is not locked. Lower-case names of at most 40 characters.
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

select public.create_queue('gpu_reservations');
select public.create_queue('disk_operations');
select public.create_queue('cluster_assignments');
select public.create_queue('node_heartbeats');
