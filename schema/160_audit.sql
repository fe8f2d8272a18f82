-- 160: what people do by hand, in autoscaler.audit_logs: which row, which columns, never their values (some are
-- secrets) but for a status. A worker names itself (`pgfleet.actor`) and is in status_history instead. Reservations
-- and disks are inserted by services in the course of their work: there, only changes and deletions are logged.

-- Who asks: the subject of the request's token where a service speaks for its users (a login that is a member of
-- pgfleet_api, as PostgREST's is), else the login itself. Anyone can set a setting, so it counts from nobody else.
-- Called by audit_who, may_see and auth.uid.
create or replace function public.request_user() returns text
language plpgsql stable
as $$
begin
  -- Without a query, as it is asked for each row that somebody may see.
  if to_regrole('pgfleet_api') is not null and pg_has_role(session_user, to_regrole('pgfleet_api')::oid, 'member') then
    return coalesce(
      nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub',
      nullif(current_setting('request.jwt.claim.sub', true), ''),
      session_user);
  end if;
  return session_user;
end
$$;

-- Whether what this transaction does is in the audit already, as a request that the API has noted (note_request, 166): the mark
-- is this transaction's, and counts from nobody but the API. Called by audit_write.
create or replace function public.is_audited() returns boolean
language sql stable
as $$
  select current_setting('pgfleet.audited', true) = pg_current_xact_id_if_assigned()::text
    and pg_has_role(session_user, to_regrole('pgfleet_api')::oid, 'member')
$$;

-- Who is to be in the audit: the account, its e-mail or else the name, the role that they ask in, and where a request came
-- from. Called by audit_write and by note_request.
create or replace function autoscaler.audit_who(
  out who_id integer, out who text, out who_role text, out address text, out agent text) returns record
language plpgsql stable
as $$
declare
  claims constant jsonb := public.asking_claims();
  account_email text;
begin
  who := left(public.request_user(), 255);
  address := coalesce(left(claims ->> 'pgfleet_address', 45), host(inet_client_addr()));
  agent := left(claims ->> 'pgfleet_agent', 500);
  if claims ->> 'sub' is null then
    select id, role into who_id, who_role from autoscaler.users where email = who;
    return;
  end if;
  who_role := public.asking_role();
  select id, email into who_id, account_email from autoscaler.users
  where id = case when claims ->> 'pgfleet_account' ~ '^[0-9]{1,9}$' then (claims ->> 'pgfleet_account')::integer end;
  -- An account without an e-mail has one that is none (164).
  if account_email not like '%.invalid' then
    who := account_email;
  end if;
end
$$;

-- Writes audit_logs for what people change. Arguments: what the row is called, the category, its key column, the
-- column of its name ('' for none). Made a trigger by audit.
create or replace function autoscaler.audit_write() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  kind constant text := tg_argv[0];
  row_now constant jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  row_before constant jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
  verb constant text := case tg_op when 'INSERT' then 'CREATED' when 'DELETE' then 'DELETED' else 'UPDATED' end;
  changed text[];
  asks record;
begin
  if public.is_audited() then
    return null;
  end if;
  if tg_op = 'UPDATE' then
    select coalesce(array_agg(key order by key), '{}') into changed
    from jsonb_each(row_now)
    where value is distinct from row_before -> key
      and key not in ('updated_at', 'last_updated', 'status_since', 'status_history', 'last_node_number');
    if changed = '{}' then
      return null;
    end if;
  end if;
  select * into asks from autoscaler.audit_who();
  insert into autoscaler.audit_logs (user_id, user_email, user_role, action, category, resource_type, resource_id,
    resource_name, description, details, ip_address, user_agent, timestamp)
  values (asks.who_id, asks.who, asks.who_role, upper(kind) || '_' || verb, tg_argv[1], kind,
    left(row_now ->> tg_argv[2], 255), left(row_now ->> nullif(tg_argv[3], ''), 255),
    format('%s %s was %s by hand', replace(kind, '_', ' '), row_now ->> tg_argv[2], lower(verb)),
    jsonb_strip_nulls(jsonb_build_object(
      'changed', changed,
      'reason', public.given_reason(),
      'from', case when 'status' = any (changed) then row_before ->> 'status' end,
      'to', case when 'status' = any (changed) then row_now ->> 'status' end))::text,
    asks.address, asks.agent, public.fleet_now() at time zone 'UTC');
  return null;
end
$$;

revoke execute on function autoscaler.audit_write() from public;

-- Puts a table under the audit. Called by the file of each kind, and below.
create or replace function autoscaler.audit(audited regclass, events text, kind text, category text, key_column text,
  name_column text default '') returns void
language plpgsql
as $$
begin
  if public.has_trigger(
    audited, 'audit_write', 'autoscaler.audit_write()', array[kind, category, key_column, name_column], events)
  then
    return;
  end if;
  execute format('drop trigger if exists audit_write on %s', audited);
  execute format(
    'create trigger audit_write after %s on %s
     for each row when (public.said(''pgfleet.actor'') is null and public.said(''pgfleet.by_health'') is null)
     execute function autoscaler.audit_write(%L, %L, %L, %L)',
    events, audited, kind, category, key_column, name_column);
end
$$;

select autoscaler.audit('autoscaler.nodes', 'insert or update or delete', 'node', 'NODE', 'id', 'name');
select autoscaler.audit('public.node_keys', 'insert or update', 'node_key', 'NODE', 'key_prefix');
select autoscaler.audit('public.node_logins', 'insert or update or delete', 'node_login', 'NODE', 'login');
select autoscaler.audit('autoscaler.pools', 'insert or update or delete', 'pool', 'POOL', 'id', 'name');
select autoscaler.audit('autoscaler.schedules', 'insert or update or delete', 'schedule', 'POOL', 'id', 'name');
select autoscaler.audit(
  'autoscaler.node_configurations', 'insert or update or delete', 'node_configuration', 'CONFIG', 'id', 'config_hash');
select autoscaler.audit('autoscaler.users', 'insert or update or delete', 'user', 'USER', 'id', 'email');
select autoscaler.audit('autoscaler.user_subjects', 'insert or delete', 'subject', 'USER', 'account_id', 'subject');
select autoscaler.audit(
  'public.api_users', 'insert or update of username, is_active, account_id, github_user or delete', 'username', 'USER',
  'user_id', 'username');
-- Not when it was last used, nor that it is gone long after its end.
select autoscaler.audit(
  'public.api_keys', 'insert or update of user_id, key_hash, expires_at, is_active', 'key', 'AUTH', 'key_id', 'key_prefix');
select autoscaler.audit('clusters.clusters', 'insert or update or delete', 'cluster', 'SYSTEM', 'cluster_id', 'name');
select autoscaler.audit(
  'clusters.cluster_nodes', 'insert or update or delete', 'cluster_node', 'NODE', 'node_id', 'name');
select autoscaler.audit(
  'hopsworks.hopsworks_clusters', 'insert or update or delete', 'hopsworks_cluster', 'SYSTEM', 'id', 'name');
select autoscaler.audit(
  'hopsworks.user_hopsworks_assignments', 'insert or update or delete', 'assignment', 'USER', 'id', 'user_id');
select autoscaler.audit('hopsworks.users', 'update or delete', 'hopsworks_user', 'USER', 'id', 'email');
select autoscaler.audit('public.policies', 'insert or update or delete', 'policy', 'CONFIG', 'limit_name', 'subject');
select autoscaler.audit('hopsworks.billing_rates', 'update or delete', 'billing_rate', 'CONFIG', 'resource');
select autoscaler.audit('public.reservations', 'update or delete', 'reservation', 'SYSTEM', 'reservation_id', 'name');
select autoscaler.audit('public.disks', 'update or delete', 'disk', 'SYSTEM', 'disk_id', 'disk_name');
select autoscaler.audit('public.disk_snapshots', 'update or delete', 'disk_snapshot', 'SYSTEM', 'snapshot_id');
select autoscaler.audit(
  'public.gpu_types', 'insert or update or delete', 'gpu_type', 'CONFIG', 'gpu_type', 'gpu_type');
