-- 166: what the API puts into the audit (autoscaler.audit_logs): each write, sign-in and refusal of somebody who is proven, in
-- the transaction of the write; and how often others were refused, as numbers. And what the API's login may call.

-- Writes a row of the audit. With an account, as that account's own doing. Called by note_request, and by functions of ours that
-- say themselves what they do.
create or replace function autoscaler.write_audit(
  action text, category text, resource_type text, resource_id text, resource_name text, description text, status text,
  error text, of_account integer default null) returns void
language plpgsql
as $$
declare
  asks record;
begin
  select * into asks from autoscaler.audit_who();
  insert into autoscaler.audit_logs (user_id, user_email, user_role, action, category, resource_type, resource_id,
    resource_name, description, ip_address, user_agent, status, error_message, timestamp)
  select coalesce(of_account, asks.who_id), coalesce(u.email, asks.who), coalesce(u.role::text, asks.who_role),
    left(write_audit.action, 100), write_audit.category, left(write_audit.resource_type, 100),
    left(write_audit.resource_id, 255), left(write_audit.resource_name, 255), left(write_audit.description, 1000),
    asks.address, asks.agent, write_audit.status, left(error, 1000), public.fleet_now() at time zone 'UTC'
  from (select) one left join autoscaler.users u on u.id = of_account;
end
$$;

-- Notes what the API does for whom it speaks for, or refuses them (FAILURE). Called before the write, in its transaction: the
-- triggers of the audit (160) then have nothing to add. `category` is AUTH, NODE, POOL, USER, CONFIG or SYSTEM.
create or replace function public.note_request(
  action text, category text, resource_type text, resource_id text, resource_name text, description text,
  status text default 'SUCCESS', error text default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if public.asking_claims() ->> 'sub' is null then
    raise exception 'requests are noted for somebody: say first for whom' using errcode = 'PF013';
  elsif coalesce(action !~ '^[A-Z][A-Z0-9_]*$', true) then
    perform public.refuse_value('action', left(action, 60), 'capital letters, such as NODE_CREATED');
  end if;
  perform autoscaler.write_audit(
    action, category, resource_type, resource_id, resource_name, description, status, error);
  if status = 'SUCCESS' then
    perform set_config('pgfleet.audited', pg_current_xact_id()::text, true);
  end if;
end
$$;

-- Counts how often somebody without a proof was refused from an address, this minute, or a node's heartbeat (`node 7`): a node
-- that is set up wrongly sends the same for ever. From the thousandth of a minute on they are counted together.
create or replace function public.note_refusals(address text, number bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  this_minute constant timestamptz := date_trunc('minute', public.fleet_now());
  of_group text := case when address like 'node %' then left(address, 100) else public.address_group(address) end;
begin
  if coalesce(number not between 1 and 1e9, true) then
    perform public.refuse_value('a number of refusals', number::text, '1 to 1,000,000,000');
  end if;
  if not exists (select from public.refusals r where (r.minute, r.address) = (this_minute, of_group))
    and (select count(*) from public.refusals r where r.minute = this_minute) >= 999
  then
    of_group := 'others';
  end if;
  insert into public.refusals as r (minute, address, refused) values (this_minute, of_group, number)
  on conflict (minute, address) do update set refused = r.refused + excluded.refused;
end
$$;

revoke execute on function public.note_request(text, text, text, text, text, text, text, text),
  public.note_refusals(text, bigint)
from public;

-- What the API's login may call of people, keys and the audit. Read by given_rights (196).
create or replace view public.identity_rights (thing) as values
  ('function public.principal_of_key(text)'),
  ('function public.principal_of_subject(text, text, text, boolean, text, text, text, text)'),
  ('function public.password_of(text, text)'),
  ('function public.signed_in(integer, text, text, text, text, double precision)'),
  ('function public.begin_session(text, text, double precision, integer)'),
  ('function public.make_key(text, text, text, double precision, text, boolean)'),
  ('function public.keys_seen(text, integer, integer)'),
  ('function public.revoke_key(text)'),
  ('function public.make_account(text, text, text, text, text)'),
  ('function public.set_account_role(text, text)'),
  ('function public.set_account_active(text, boolean)'),
  ('function public.set_account_password(text, text)'),
  ('function public.unlock_account(text)'),
  ('function public.bind_username(text, text)'),
  ('function public.accounts_seen(text, integer, integer)'),
  ('function public.note_request(text, text, text, text, text, text, text, text)'),
  ('function public.note_refusals(text, bigint)'),
  ('function public.begin_request(text, text, text)'),
  ('function public.finish_request(text, integer, text, text, text)');
