-- Policies as operators write them, and as people are told of them.

-- name: names
-- What can be limited.
select l.name, l.counts from public.limits l order by l.name;

-- name: policies
-- Every policy, for everybody first.
select p.applies_to, p.subject, p.limit_name, p.gpu_type, p.most, p.patterns, l.counts, p.set_by, p.set_at
from public.policies p join public.limits l on l.name = p.limit_name
order by case p.applies_to when 'everybody' then 1 when 'team' then 2 else 3 end, p.subject, p.limit_name, p.gpu_type;

-- name: may_see
-- Whether this login may ask what applies to somebody.
select has_function_privilege('public.limits_seen(text)', 'execute') as may;

-- name: limits
-- What applies to a user, and what is used of it; nothing where the login may not see that.
select l.* from public.limits_seen(:user_id::text) l order by l.name, l.gpu_type;

-- name: put
-- Sets a policy, in the place of the one of before; the row.
insert into public.policies as p (applies_to, subject, limit_name, gpu_type, most, patterns, set_by)
values (:applies_to::text, :subject::text, :limit_name::text, :gpu_type::text, :most::double precision, :patterns::text[],
  :set_by::text)
on conflict (applies_to, subject, limit_name, gpu_type) do update
set most = excluded.most, patterns = excluded.patterns, set_by = excluded.set_by, set_at = public.fleet_now()
returning p.limit_name;

-- name: remove
-- Removes a policy; its row, if there was one.
delete from public.policies p
where p.applies_to = :applies_to::text and p.subject = :subject::text and p.limit_name = :limit_name::text
  and p.gpu_type = :gpu_type::text
returning p.limit_name;
