-- 172: disks, snapshots and operations that are forgotten, as 171 says it of reservations.

-- A disk that something is still to be done about, without its ticket.
create or replace view public.forgotten_disk as
select d.disk_id::text as row_id, d.ticket::bigint as ticket, d.status_since as since,
  d.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.disks d
left join public.periodic p on p.name = 'disk.sweep'
where (d.status in ('creating', 'deleted')
    or d.status = 'attached' and (d.ebs_volume_id is null or d.volume_is_new or d.release_asked_at is not null))
  and d.status_since < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_disk_operations q
    where q.message ->> 'disk_id' = d.disk_id::text and q.message ->> 'ticket' = d.ticket::text);

-- A snapshot that AWS or we have not finished, or whose listing is still to be written, without its ticket.
create or replace view public.forgotten_disk_snapshot as
select s.snapshot_id::text as row_id, s.ticket::bigint as ticket, s.status_since as since,
  s.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.disk_snapshots s
left join public.periodic p on p.name = 'disk.sweep'
where s.snapshot_id in (
    select live.snapshot_id from public.disk_snapshots live where live.status in ('pending', 'creating', 'deleting')
    union all
    select listed.snapshot_id from public.disk_snapshots listed
    where listed.status = 'completed' and listed.contents is not null)
  and s.status_since < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_disk_operations q
    where q.message ->> 'snapshot_id' = s.snapshot_id::text and q.message ->> 'ticket' = s.ticket::text);

-- An operation that nobody has begun with, without a message. Some time goes by until a worker has looked whether
-- anybody knows its disk.
create or replace view public.forgotten_disk_operation as
select o.operation_id::text as row_id, null::bigint as ticket, o.status_since as since,
  o.status_since < public.fleet_now() - 3 * coalesce(p.every, '60 seconds') as is_overdue
from public.disk_operations o
left join public.periodic p on p.name = 'disk.sweep'
where o.status = 'pending' and o.status_since < public.fleet_now() - interval '60 seconds'
  and not exists (
    select from pgmq.q_disk_operations q where q.message ->> 'operation_id' = o.operation_id::text);
