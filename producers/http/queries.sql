-- The statement with which `pgfleet serve` begins.

-- name: may_serve
-- Whether the login has the rights of pgfleet_serve, or is the owner of our tables; also true while there are none.
select coalesce(pg_catalog.pg_has_role(session_user, pg_catalog.to_regrole('pgfleet_serve')::oid, 'usage'), false)
  or coalesce((
    select pg_catalog.pg_has_role(session_user, c.relowner, 'member')
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relname = 'schema_migrations'), true);
