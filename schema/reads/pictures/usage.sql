-- What reservations had of GPUs, as pages draw it.

-- name: of_month
-- GPU hours of a month (UTC, from its first day up to that of the next): by day and type (then user_id is null), and by user and
-- type (then date is null), of the users that had most. Of a user, or of everybody. A row runs from its launch until it ended.
with runs as (
  select r.user_id, r.gpu_type, r.gpu_count,
    greatest(r.launched_at at time zone 'UTC', :first::date::timestamp) as since,
    least(
      case when r.status = 'active' then public.fleet_now() else r.status_since end at time zone 'UTC', :after::date::timestamp
    ) as until
  from public.reservations r
  where r.gpu_count > 0 and r.launched_at < :after::date::timestamp at time zone 'UTC'
    and r.status in ('active', 'expired', 'cancelled')
    and (r.status = 'active' or r.status_since > :first::date::timestamp at time zone 'UTC')
    and (:username::text is null or r.user_id = :username::text)
), parts as (
  select r.user_id, r.gpu_type, d.day::date as date, d.day <= r.since as is_first,
    r.gpu_count * extract(epoch from least(r.until, d.day + interval '1 day') - greatest(r.since, d.day)) / 3600 as hours
  from runs r
  cross join lateral generate_series(date_trunc('day', r.since), r.until, interval '1 day') d (day)
  where r.since < r.until and d.day < r.until
), counted as (
  select p.date, p.user_id, p.gpu_type, sum(p.hours)::float8 as gpu_hours,     -- Of a day each is in one part; of the month its first one counts.
    case grouping(p.date) when 0 then count(*) else count(*) filter (where p.is_first) end as reservations
  from parts p
  group by grouping sets ((p.date, p.gpu_type), (p.user_id, p.gpu_type))
), top as (
  select c.user_id from counted c where c.date is null
  group by c.user_id order by sum(c.gpu_hours) desc, c.user_id limit :most::integer
)
select c.* from counted c
where c.date is not null or c.user_id in (select t.user_id from top t)
order by c.date, c.gpu_hours desc, c.user_id, c.gpu_type;
