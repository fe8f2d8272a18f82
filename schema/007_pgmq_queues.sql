-- 007: the queues. PGMQ's tables and functions are the wire contract: producers in any language call pgmq.send,
-- workers claim and settle. The queue of a kind is made by the kind's own file from 100 on (create_fleet_queue, in
-- 101), as functions are what makes it.

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
