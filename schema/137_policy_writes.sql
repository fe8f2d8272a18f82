-- 137: policies (047) as people write them: operators at the database with `pgfleet policy`, others through the API.

-- Sets a policy, in the place of the one of before. `who` is believed of whoever speaks for nobody. Called by `pgfleet policy
-- set` and the API.
create or replace function public.put_policy(
  of_whom text, of_subject text, of_limit text, of_type text, at_most double precision, of_patterns text[], who text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}');
  insert into public.policies as p (applies_to, subject, limit_name, gpu_type, most, patterns, set_by)
  values (of_whom, of_subject, of_limit, of_type, at_most, of_patterns, coalesce(public.served(), who))
  on conflict (applies_to, subject, limit_name, gpu_type) do update
  set most = excluded.most, patterns = excluded.patterns, set_by = excluded.set_by, set_at = public.fleet_now();
end
$$;
revoke execute on function public.put_policy(text, text, text, text, double precision, text[], text) from public;

-- Removes a policy; whether there was one. Called by `pgfleet policy remove` and the API.
create or replace function public.remove_policy(of_whom text, of_subject text, of_limit text, of_type text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}');
  delete from public.policies p
  where p.applies_to = of_whom and p.subject = of_subject and p.limit_name = of_limit and p.gpu_type = of_type;
  return found;
end
$$;
revoke execute on function public.remove_policy(text, text, text, text) from public;
