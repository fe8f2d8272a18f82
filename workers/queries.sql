-- What kinds share. `row_version` is PostgreSQL's own: any change of the row makes a new one.

-- name: periodic
-- The periodic work of a queue. Not next_at: an operator puts work off for ever by infinity, which no driver reads.
select p.xmin::text as row_version, p.name, p.message, p.every, p.done_at from public.periodic p
where p.queue = :queue::text;

-- name: limits
-- What these users, and those who have asked for these operations, have of what is limited, and the most of it (112).
select l.*
from public.limits_of(:users::text[] || array(
  select o.user_id from public.disk_operations o where o.operation_id = any(:operations::uuid[]))) l;
