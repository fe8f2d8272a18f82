-- What the steps of measuring and billing look at. `row_version` is PostgreSQL's own, of the row as it is.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: measurable
-- The clusters whose use can be measured.
select c.id::text
from hopsworks.hopsworks_clusters c
where c.kubeconfig <> '' and c.status is distinct from 'inactive'
order by c.id;

-- name: kubeconfigs
-- The kubeconfigs of these clusters, where they can be measured.
select c.id::text, c.kubeconfig
from hopsworks.hopsworks_clusters c
where c.kubeconfig <> '' and c.status is distinct from 'inactive' and c.id = any(:clusters::uuid[]);

-- name: usernames
-- Who is who on these clusters.
select a.hopsworks_cluster_id::text, a.hopsworks_username, a.user_id
from hopsworks.user_hopsworks_assignments a
where a.hopsworks_cluster_id = any(:clusters::uuid[]) and a.hopsworks_username is not null
order by a.user_id;

-- name: sampled
-- What was measured already.
select s.hopsworks_cluster_id::text, s.slot
from hopsworks.usage_samples s
where s.hopsworks_cluster_id = any(:clusters::uuid[]) and s.slot = any(:slots::timestamptz[]);

-- name: failures
-- Of these clusters, those that could not be measured the last time.
select f.xmin::text as row_version, f.*
from hopsworks.health_check_failures f
where f.hopsworks_cluster_id = any(:clusters::uuid[]) and f.check_name = 'metrics' and f.user_id is null
  and f.resolved_at is null;

-- name: rates
-- What is billed.
select r.xmin::text as row_version, r.* from hopsworks.billing_rates r;

-- name: accounts
-- Of users and days: whether the day is billed, whether its charge was written, and what is on its way to be paid. A
-- refund is no payment.
select u.id, asked.day,
  exists (select from hopsworks.usage_daily d where d.user_id = asked.user_id and d.date = asked.day),
  exists (select from hopsworks.billing_history h where h.id = asked.charge_id),
  (select coalesce(sum(h.amount), 0) from hopsworks.billing_history h
   where h.user_id = asked.user_id and h.status = 'pending' and h.amount > 0)
from unnest(:users::text[], :days::date[], :charges::uuid[]) as asked (user_id, day, charge_id)
join hopsworks.users u on u.id = asked.user_id;

-- name: used
-- What users used on a day, if it can be billed: of any other it would be looked for in vain, and for long.
select used.user_id, used.seat_days, used.gpu_hours, used.cpu_hours, used.hopsworks_cluster_id,
  used.storage_gb_months
from hopsworks.use_of_day(:day::date, :users::text[]) used
where :day::date >= (timezone('UTC', public.fleet_now() - :billable::interval))::date
  and :day::date < (timezone('UTC', public.fleet_now()))::date;

-- name: open_day
-- The oldest day that is closed and not listed as billed, whether it is the only one, and who used anything on it and has
-- no bill. Looks seven days back, or to the last day that is listed; not further than hours are kept (021): 60 days.
with today as (
  select (timezone('UTC', public.fleet_now() - :closes::interval))::date as today
), closed as (
  select t.today - n.back as day
  from today t, generate_series(1, least(60, greatest(7,
    (select today from today) - (select max(b.day) from hopsworks.billed_days b)))) as n (back)
), oldest as (
  select c.day, count(*) over () = 1 as is_last
  from closed c
  where not exists (select from hopsworks.billed_days b where b.day = c.day)
  order by c.day
  limit 1
)
select o.day, o.is_last, array(
  select someone.user_id
  from hopsworks.use_of_day(o.day, null) someone
  where not exists (select from hopsworks.usage_daily d where d.user_id = someone.user_id and d.date = o.day)
  order by someone.user_id)
from oldest o;
