-- 191: what our roles, or everybody, may do beyond what they are given (196): somebody granted it by hand. migrate takes it back.

-- The rights on what is ours that no GRANT of ours gives, in its words, and the table that each is about. Rights of other
-- roles and logins are the operator's to give. Called by migrate, by the doctor and at a worker's start.
create or replace function public.needless_rights() returns table (role_name text, thing text, of_table text, may text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  with owner as (
    select relowner as id from pg_class where oid = 'public.schema_migrations'::regclass
  ), holders as (
    select 0::oid as id, 'PUBLIC' as name
    union all
    select to_regrole(f.role_name)::oid, f.role_name from public.fleet_roles f, owner
    where to_regrole(f.role_name)::oid <> owner.id
  ), given as materialized (
    select to_regrole(g.role_name)::oid as holder, m[1] as may, regexp_split_to_array(m[2], '\s*,\s*') as columns,
      case when g.thing like 'function %' then 'function ' || to_regprocedure(substr(g.thing, 10)) else g.thing end as thing
    from public.given_rights() g
    cross join lateral regexp_matches(g.may, '(\w+)(?: *\(([^)]*)\))?', 'g') m
    union all
    select 0, 'usage', null, 'schema public'
  ), relations as materialized (
    -- A partition is looked at as its table.
    select c.oid, c.relacl, format('%I.%I', n.nspname, c.relname) as name,
      coalesce(i.inhparent::regclass::text, format('%I.%I', n.nspname, c.relname)) as of_table
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join owner
    left join pg_inherits i on i.inhrelid = c.oid and c.relispartition
    where c.relkind in ('r', 'p', 'v') and (
      n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and c.relowner = owner.id
      or n.nspname = 'pgmq' and exists (
        select from public.fleet_queues q where c.relname in ('q_' || q.queue_name, 'a_' || q.queue_name)))
  ), granted as (
    select r.name as thing, r.of_table, a.grantee, lower(a.privilege_type) as may, a.is_grantable, null::name as of_column,
      0 as place
    from relations r cross join aclexplode(r.relacl) a
    union all
    select r.name, r.of_table, a.grantee, lower(a.privilege_type), a.is_grantable, c.attname, c.attnum
    from relations r join pg_attribute c on c.attrelid = r.oid and not c.attisdropped cross join aclexplode(c.attacl) a
    union all
    select 'sequence ' || s.name, s.of_table, a.grantee, lower(a.privilege_type), a.is_grantable, null, 0
    from public.fleet_sequences s join pg_class c on c.oid = to_regclass(s.name) cross join aclexplode(c.relacl) a
    union all
    -- Others may use PGMQ, too; and who migrates may not be the owner of public.
    select 'schema ' || n.nspname, null, a.grantee, lower(a.privilege_type), a.is_grantable, null, 0
    from pg_namespace n cross join aclexplode(n.nspacl) a
    where n.nspname in ('public', 'pgmq', 'hopsworks', 'autoscaler', 'clusters')
      and not (a.grantee = 0 and n.nspname = 'pgmq') and pg_has_role(n.nspowner, 'usage')
    union all
    -- What everybody may call is in the list of functions.
    select 'function ' || p.oid::regprocedure, null, a.grantee, lower(a.privilege_type), a.is_grantable, null, 0
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace cross join owner cross join aclexplode(p.proacl) a
    where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and p.proowner = owner.id and not exists (
      select from aclexplode(p.proacl) e where e.grantee = 0)
  ), given_whole as (
    select distinct holder, thing, may from given where columns is null
  ), given_columns as (
    select distinct holder, thing, may, each as of_column from given cross join unnest(columns) each
  ), needless as (
    select h.name as holder, t.thing, t.of_table, t.of_column, t.place,
      case when is_given.it then 'grant option for ' else '' end || t.may as may, is_given.it as is_option
    from granted t
    join holders h on h.id = t.grantee
    left join given_whole w on w.holder = t.grantee and w.thing = t.thing and w.may = t.may
    left join given_columns c
      on c.holder = t.grantee and c.thing = t.thing and c.may = t.may and c.of_column = quote_ident(t.of_column)
    cross join lateral (select w.thing is not null or c.thing is not null as it) is_given
    where t.is_grantable or not is_given.it
  ), of_columns as (
    select holder, thing, of_table, is_option,
      may || coalesce(' (' || string_agg(quote_ident(of_column), ', ' order by place) || ')', '') as may
    from needless group by holder, thing, of_table, is_option, may, of_column is null
  )
  -- A GRANT OPTION is said once in front of all that it is for.
  select holder, thing, of_table, case when is_option then 'grant option for ' else '' end
    || string_agg(replace(may, 'grant option for ', ''), ', ' order by may)
  from of_columns group by holder, thing, of_table, is_option;
end
$$;
revoke execute on function public.needless_rights() from public;
