-- 157: which users of Hopsworks who asks is. There a user's id is the one at Auth0; a name that the API speaks for may be that
-- id, or another of the same account.

-- The ids in hopsworks.users that are who asks: the name itself, and where `pgfleet serve` speaks for somebody whose account
-- was proven by a token, the subject of it. Called by may_see (161), and by the API for assignments and usage.
create or replace function public.own_hopsworks_users() returns setof text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select u.id::text from hopsworks.users u where u.id = public.request_user()
    union
    select u.id::text
    from public.api_users p
    join autoscaler.user_subjects s on s.account_id = p.account_id
    join hopsworks.users u on u.id = s.subject
    where p.username = public.served();
end
$$;

revoke execute on function public.own_hopsworks_users() from public;
