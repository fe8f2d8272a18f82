-- What tests of others ask of the database.

-- name: ahead
-- By how many seconds the fleet's clock is ahead of the server's.
select extract(epoch from public.fleet_now() - statement_timestamp())::double precision as seconds;

-- name: reservation
-- A reservation by its id.
select r.* from public.reservations r where r.reservation_id = :reservation_id;

-- name: rejected
-- Why a message about this row was given up, the last one; no row where none was.
select d.reason from public.dead_letters d
where d.row_id = :row_id and d.answered_at is null order by d.dead_letter_id desc limit 1;

-- name: queues
-- The queues that workers take messages of.
select q.queue_name from public.fleet_queues q order by q.queue_name;
