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
-- Sets a policy, in the place of the one of before.
select public.put_policy(:applies_to::text, :subject::text, :limit_name::text, :gpu_type::text, :most::double precision,
  :patterns::text[], :set_by::text);

-- name: remove
-- Removes a policy; whether there was one.
select public.remove_policy(:applies_to::text, :subject::text, :limit_name::text, :gpu_type::text) as was_there;
