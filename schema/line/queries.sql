-- What a line is planned with, for the worker and for people.

-- name: fronts
-- The first units of lines, in their order.
select f.* from public.fronts_of_lines(:gpu_types::text[], :most::integer) f;

-- name: ahead
-- How many units go before one that waits.
select public.ahead_in_line(:unit::text) as ahead;

-- name: booked
-- Those that are booked, by when they start.
select b.* from public.booked_units b where b.gpu_type = :gpu_type::text order by b.start_at, b.reservation_id limit :most;

-- name: rooms
-- What the nodes of GPU types have room for: pods are read once for all of them.
select m.*, public.fleet_now() as now from public.gpu_rooms m where m.gpu_type = any (:gpu_types::text[]);

-- name: ends
-- GPUs that somebody holds, and what is known of their end. They are many, and only these columns are wanted.
select e.gpu_type, e.is_stuck, e.status,
  case e.status when 'active' then e.expires_at when 'preparing' then e.admitted_at else e.status_since end as counted_from,
  e.duration_hours, e.gpus, e.node, e.unit_id, e.kept_to_node
from public.gpu_ends e where e.gpu_type = any (:gpu_types::text[]);

-- name: figures
-- How long preparing and teardown take, what the operator has set, and the time.
select p.gpu_type, p.preparing_s, p.teardown_s, s.extensions_win, public.fleet_now() as now
from public.line_paces p cross join public.line_settings s
where p.gpu_type = any (:gpu_types::text[]);

-- name: settings
-- What operators have set of lines.
select s.fair_share, s.starving_after, s.extensions_win from public.line_settings s;

-- name: set
-- Sets what is given, and leaves the rest.
update public.line_settings s set fair_share = coalesce(:fair_share::boolean, s.fair_share),
  starving_after = coalesce(:starving_after::interval, s.starving_after),
  extensions_win = coalesce(:extensions_win::boolean, s.extensions_win);
