-- 107: in which role somebody asks, where a login that is a member of pgfleet_api speaks for a principal that it has proven:
-- in each transaction it sets `request.jwt.claims` to an object with `sub` (the username), `pgfleet_role`, and what the audit
-- wants to know of the request: `pgfleet_address`, `pgfleet_agent`. Anyone can set a setting, so it counts from nobody else.
-- What is not allowed is PF013.

-- What the API has said of who asks; null for a login that speaks for itself, as the owner of the tables does who has said
-- nothing (a superuser is a member of every role). Called by the functions here and by those of the API's writes.
create or replace function public.asking_claims() returns jsonb
language sql stable
as $$
  select case
    when to_regrole('pgfleet_api') is not null and pg_has_role(session_user, to_regrole('pgfleet_api')::oid, 'member')
    then coalesce(
      nullif(current_setting('request.jwt.claims', true), '')::jsonb, case when not public.is_owner() then '{}'::jsonb end)
  end
$$;

-- USER, DEVOPS, ADMIN or NODE, where the API speaks for somebody; null for a login that speaks for itself. Called by
-- must_ask_as and may_see.
create or replace function public.asking_role() returns text
language sql stable
as $$
  select case when claims is not null then
    case when claims ->> 'pgfleet_role' in ('DEVOPS', 'ADMIN', 'NODE') then claims ->> 'pgfleet_role' else 'USER' end
  end
  from public.asking_claims() claims
$$;

-- Refuses (PF013) whom the API speaks for, unless its role is one of these, or `owner` is its own name. Called by the
-- functions of the API's writes; whoever calls them with a login of their own is let by the right to call them.
create or replace function public.must_ask_as(roles text[], owner text default null) returns void
language plpgsql stable
as $$
declare
  asks_as constant text := public.asking_role();
begin
  if asks_as is not null and asks_as <> all (roles) and owner is distinct from public.request_user() then
    raise exception '% may not do this in the role %', public.request_user(), asks_as using errcode = 'PF013';
  end if;
end
$$;
