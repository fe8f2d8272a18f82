-- What a worker asks of its rights.

-- name: lacking
-- The rights that the session lacks: all on these queues, and what the role of its kind has (and pgfleet_worker) on our
-- tables and their columns, on views, sequences and queues, and on functions that may more than their caller.
with workers as (
  select to_regrole(r)::oid as oid from unnest(:roles::text[]) r where to_regrole(r) is not null
), things as (
  select c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name,
    n.nspname = 'pgmq' and c.relname = any(:queues::text[]) as is_queue
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'pgmq' or n.nspname = any(:schemas::text[])
)
select t.name, string_agg(p.privilege, ', ' order by p.place)
from things t
cross join unnest('{select,insert,update,delete}'::text[]) with ordinality as p (privilege, place)
where t.relkind in ('r', 'p', 'v')
  and (t.is_queue or exists (select from workers w where has_table_privilege(w.oid, t.oid, p.privilege)))
  and not has_table_privilege(t.oid, p.privilege)
group by t.name
union all
select t.name, format('%s (%s)', p.privilege, string_agg(quote_ident(a.attname), ', ' order by a.attnum))
from things t
cross join unnest('{select,insert,update}'::text[]) p (privilege)
join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
where t.relkind in ('r', 'p', 'v')
  and not exists (select from workers w where has_table_privilege(w.oid, t.oid, p.privilege))
  and exists (select from workers w where has_column_privilege(w.oid, t.oid, a.attnum, p.privilege))
  and not has_column_privilege(t.oid, a.attnum, p.privilege)
group by t.name, p.privilege
union all
-- Those that a default asks; an identity needs no right of its own.
select 'sequence ' || t.name, 'usage' from things t
where exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.deptype = 'a')
  and case when t.relkind = 'S' then exists (
    select from workers w where has_sequence_privilege(w.oid, t.oid, 'usage')) and not has_sequence_privilege(t.oid, 'usage')
  end
union all
select 'function ' || p.oid::regprocedure, 'execute'
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = any(:schemas::text[]) and p.prorettype <> 'trigger'::regtype
  and exists (select from workers w where has_function_privilege(w.oid, p.oid, 'execute'))
  and not has_function_privilege(p.oid, 'execute')
union all
select 'schema ' || quote_ident(n.nspname), 'usage' from pg_namespace n
where (n.nspname = 'pgmq' or n.nspname = any(:schemas::text[])) and not has_schema_privilege(n.oid, 'usage')
order by 1;

-- name: may_ask
-- Whether the session may ask what its role has lost.
select has_function_privilege('public.lacking_rights(text)', 'execute');

-- name: lost
-- The rights that these roles have lost, as far as the session lacks them, too.
select lost.thing, lacking.may
from public.lacking_rights() lost join public.lacking_rights(current_user) lacking using (role_name, thing)
where role_name = any(:roles::text[]);

-- name: note_fleet
-- The name of the fleet whose database this is (193); from now on this one, if none is known.
select public.note_fleet(:mine)
