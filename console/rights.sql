-- Every right of the roles of the fleet, as a GRANT has it.

-- name: rights
-- The role, what it is on, and what it may do there.
with roles as (
  select r.oid, r.rolname::text as role from pg_roles r join public.fleet_roles f on f.role_name = r.rolname
  union all
  select 0, 'PUBLIC'
), things as (
  select c.oid, c.relkind, n.nspname || '.' || c.relname as name, c.relacl
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters', 'pgmq') and not c.relispartition
)
select r.role, case when t.relkind = 'S' then 'sequence ' else '' end || t.name,
  string_agg(lower(a.privilege_type), ', ' order by a.privilege_type)
from things t cross join aclexplode(t.relacl) a join roles r on r.oid = a.grantee
where not (a.grantee = 0 and t.name like 'pgmq.%')
group by r.role, t.relkind, t.name
union all
select r.role, t.name || ' (' || string_agg(c.attname::text, ', ' order by c.attnum) || ')', lower(a.privilege_type)
from things t join pg_attribute c on c.attrelid = t.oid cross join aclexplode(c.attacl) a
join roles r on r.oid = a.grantee
group by r.role, t.name, a.privilege_type
union all
select r.role, 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  'execute'
from pg_proc p join pg_namespace n on n.oid = p.pronamespace cross join aclexplode(p.proacl) a
join roles r on r.oid = a.grantee
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters') and not (a.grantee = 0 and not p.prosecdef)
union all
select r.role, 'schema ' || n.nspname, string_agg(lower(a.privilege_type), ', ' order by a.privilege_type)
from pg_namespace n cross join aclexplode(n.nspacl) a join roles r on r.oid = a.grantee
where n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters', 'pgmq')
group by r.role, n.nspname
union all
select r.role, 'role ' || g.rolname, 'member'
from pg_auth_members m join roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid;
