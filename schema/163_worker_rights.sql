-- 163: what the roles of workers may do, and who may send what. Each kind says so in a view of its own, beside its queue:
-- `rights_of_<kind>`, a row for each right: who, on what, and the words of a GRANT. All else is found.
--
--   who                 which role that is
--   worker              pgfleet_worker_<kind>, a member of pgfleet_worker
--   anything else       pgfleet_<that>: user, sender, api, node
--
-- Two words are short for what goes together, on a queue: `send`, and `work`.

-- What every worker needs, whatever its kind: to see that the schema is as it should be, to claim and to settle, and what
-- all of them share. Read by fleet_rights.
create or replace view public.rights_of_runtime (who, thing, may) as values
  ('worker', 'public.schema_migrations', 'select'),
  ('worker', 'public.moves', 'select'),
  ('worker', 'public.notices', 'select'),
  ('worker', 'public.retention', 'select'),
  ('worker', 'public.periodic', 'select, update (next_at, done_at)'),
  ('worker', 'public.dead_letters', 'select (dead_letter_id, queue, answered_at), insert'),
  ('worker', 'public.outages', 'select, insert, update'),
  ('worker', 'public.pauses', 'select'),
  ('worker', 'public.database_identity', 'select'),
  ('worker', 'public.deletes_pause', 'select'),
  ('worker', 'public.fleet_queues', 'select'),
  ('worker', 'pgmq.meta', 'select'),
  ('worker', 'function public.keep_house()', 'execute'),
  ('worker', 'function public.note_database()', 'execute'),
  ('worker', 'function public.note_fleet(text)', 'execute'),
  ('worker', 'function public.note_worker(text, text, text, integer)', 'execute'),
  ('worker', 'function public.lacking_rights(text)', 'execute'),
  ('worker', 'function public.needless_rights()', 'execute'),
  ('worker', 'function public.messages_held(text)', 'execute'),
  ('monitor', 'function public.messages_held(text)', 'execute'),
  ('monitor', 'function public.queue_loads()', 'execute'),
  ('monitor', 'function public.lacking_rights(text)', 'execute'),
  ('monitor', 'function public.needless_rights()', 'execute');

-- The rights that the views of all kinds list: the role, what it is on, and the words of a GRANT. Called by
-- given_rights.
create or replace function public.fleet_rights() returns table (role_name text, thing text, may text)
language plpgsql stable
as $$
declare
  of_kind text;
begin
  for of_kind in select kind from public.fleet_kinds union all select 'runtime' loop
    return query execute format(
      'select case when who <> ''worker'' then ''pgfleet_'' || who when %1$L = ''runtime'' then ''pgfleet_worker''
         else ''pgfleet_worker_'' || %1$L end,
         thing, case may when ''send'' then ''insert (vt, message, headers), select (msg_id)''
           when ''work'' then ''select, insert, update, delete'' else may end
       from public.%2$I', of_kind, 'rights_of_' || of_kind);
  end loop;
end
$$;
