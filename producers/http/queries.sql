-- The statement with which `pgfleet serve` begins.

-- name: may_serve
-- Whether the login has the rights of pgfleet_serve, or may act as the owner of our tables.
select coalesce(pg_catalog.pg_has_role(session_user, pg_catalog.to_regrole('pgfleet_serve')::oid, 'usage'), false)
  or public.is_owner();
