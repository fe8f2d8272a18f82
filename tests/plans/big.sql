-- A fleet after years: what has ended is still there, and a million messages wait. Beside crowd.sql, whose rows live.
-- `rows(n)` counts to n times the scale. Written with no trigger, by a session that has made that function.
set session_replication_role = replica;
insert into pgmq.q_gpu_reservations (vt, message)
select now() - interval '1 minute', jsonb_build_object(
  'action', 'create', 'reservation_id', md5('w' || n)::uuid::text, 'user_id', 'u' || n % 1000, 'gpu_type', 'h100')
from pg_temp.rows(1000000) n;
insert into pgmq.q_gpu_reservations (vt, message)
select now() + interval '1 hour' + n * interval '0.1 s', jsonb_build_object(
  'action', 'advance', 'reservation_id', md5('e' || n)::uuid::text, 'ticket', 3)
from pg_temp.rows(300000) n;
insert into pgmq.q_disk_operations (vt, message)
select now() + interval '1 hour', jsonb_build_object('action', 'advance', 'disk_id', md5('g' || n)::uuid::text, 'ticket', 1)
from pg_temp.rows(300000) n;
insert into pgmq.q_cluster_assignments (vt, message)
select now() + interval '1 hour', jsonb_build_object('action', 'advance', 'user_id', 'v' || n, 'ticket', 1)
from pg_temp.rows(300000) n;
insert into pgmq.q_event_deliveries (vt, message)
select now() + interval '1 hour', jsonb_build_object(
  'action', 'advance', 'subscription_id', md5('b' || n)::uuid::text, 'ticket', 1)
from pg_temp.rows(300000) n;
insert into pgmq.q_node_heartbeats (vt, message)
select now() - interval '1 minute', jsonb_build_object('action', 'heartbeat', 'node_id', n % 1000, 'id', gen_random_uuid())
from pg_temp.rows(300000) n;
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at, timeline, xact_id)
select 'reservation', md5('e' || n / 10)::uuid::text, 'active', 'expired', 'over', 'w', now() - n * interval '3 s',
  1, '1'::xid8
from pg_temp.rows(10000000) n;
insert into public.dead_letters (queue, msg_id, row_id, message, reason, attempts, enqueued_at, died_at, verdict,
  answered_at, answer, answered_by)
select 'gpu_reservations', n, md5('e' || n)::uuid::text, '{"action": "create"}', 'broken', 3, now(),
  now() - n * interval '1 minute', 'failure', a.at, case when a.at is not null then 'replayed' end, 'x'
from pg_temp.rows(300000) n, lateral (select case when n % 3 > 0 then now() - interval '1 day' end as at) a;
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at,
  status_since, launched_at, admitted_at, expires_at, ticket, gpus_held, github_user, disk_name, reservation_ended)
select md5('e' || n)::uuid, 'u' || n % 1000, (array['cancelled', 'expired', 'failed'])[n % 3 + 1], 'h100', 1, 8, a.at, a.at,
  a.at, a.at, a.at, 9, 0, 'g', 'home', a.at
from pg_temp.rows(300000) n, lateral (select now() - n * interval '1 minute' as at) a;
insert into public.disks (disk_id, disk_name, user_id, size_gb, ebs_volume_id, status, status_since, ticket, created_at)
select md5('g' || n)::uuid, 'd' || n, 'u' || n % 1000, 10, 'vol-g' || n, (array['available', 'purged'])[n % 2 + 1],
  now() - interval '60 days', 1, now() - interval '90 days'
from pg_temp.rows(100000) n;
insert into public.disk_snapshots (snapshot_id, disk_id, kind, status, ebs_volume_id, ebs_snapshot_id, created_at,
  completed_at, status_since, ticket)
select md5('z' || n)::uuid, md5('g' || n / 3)::uuid, 'manual', case when n % 3 = 0 then 'completed' else 'deleted' end,
  'vol-g' || n / 3, 'snap-z' || n, now() - interval '60 days', now() - interval '60 days', now() - interval '60 days', 3
from pg_temp.rows(300000) n;
insert into public.disk_operations (operation_id, action, user_id, disk_name, body, disk_id, status, created_at,
  status_since, finished_at)
select md5('p' || n)::uuid, 'create', 'u' || n % 1000, 'd' || n, '{}', md5('g' || n)::uuid, 'completed',
  now() - interval '30 days' - n * interval '1 s', now() - interval '30 days', now() - interval '30 days'
from pg_temp.rows(300000) n;
insert into public.disk_quarantine (resource_id, reason, found_at, gone_at)
select 'vol-q' || n, 'x', now() - interval '60 days', now() - interval '30 days' from pg_temp.rows(100000) n;
insert into public.pod_quarantine (pod_uid, pod_name, namespace, reason, gpus, found_at, gone_at)
select 'q' || n, 'q' || n, 'pods', 'x', 1, now() - interval '60 days', now() - interval '30 days'
from pg_temp.rows(3000) n;
insert into public.gpu_pods (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase, is_ready,
  is_deleting, fingerprint, resource_version, gone_at)
select 'e' || n, 'e' || n, 'pods', md5('e' || n)::uuid::text, 'h100', 'g' || n % 1000, 1, 'Succeeded', false, true, 'f',
  '1', now() - interval '1 day'
from pg_temp.rows(300000) n;
insert into public.outages (dependency, calls, queue, code, reason, began_at, retry_at, ended_at)
select 'kubernetes', 'read', 'gpu_reservations', 'C', 'r', a.at, a.at, a.at + interval '1 minute'
from pg_temp.rows(100000) n, lateral (select now() - interval '9 days' - n * interval '5 minutes' as at) a;
insert into public.figures (figure, about, state, at, value)
select 'queue_messages', 'gpu_reservations', 'ready', now() - n * interval '1 s', 1 from pg_temp.rows(1000000) n;
insert into public.requests_answered (key_hash, asked_by, endpoint, asked_hash, asked_at)
select 'h' || n, 'p', 'e', 'a', now() - n * interval '0.2 s' from pg_temp.rows(300000) n;
insert into hopsworks.billed_days (day, users) select current_date - n, 0 from generate_series(2, 60) n;
insert into hopsworks.users (id, email, name) select 'v' || n, 'v' || n || '@x.com', 'n' from pg_temp.rows(100000) n;
insert into hopsworks.user_hopsworks_assignments (id, user_id, hopsworks_cluster_id, status, status_since, ticket,
  holds_seat, asked_at, hopsworks_user_id, hopsworks_username, checked_at, account_enabled, max_projects)
select md5('v' || n)::uuid, 'v' || n, md5('c' || n % 20 + 1)::uuid, 'active', now() - interval '9 days', 3, true, now(),
  1000000 + n, 'v' || n, now(), true, hopsworks.projects_allowed(null, null)
from pg_temp.rows(100000) n;
insert into hopsworks.accounts_to_close (id, user_id, hopsworks_cluster_id, hopsworks_user_id, asked_at, closed_at)
select md5('y' || n)::uuid, 'v' || n, md5('c' || n % 20 + 1)::uuid, 2000000 + n, now() - interval '9 days',
  now() - interval '8 days'
from pg_temp.rows(100000) n;
insert into hopsworks.health_check_failures (id, hopsworks_cluster_id, user_id, check_name, details, failures, resolved_at)
select md5('x' || n)::uuid, md5('c' || n % 20 + 1)::uuid, 'v' || n, 'account', 'x', 1, now() - interval '1 day'
from pg_temp.rows(100000) n;
insert into hopsworks.usage_samples (id, hopsworks_cluster_id, slot, used)
select gen_random_uuid(), md5('c' || n % 20 + 1)::uuid, now() - n * interval '1 minute', '{}' from pg_temp.rows(300000) n;
select public.make_day_partition('autoscaler.metrics', 'timestamp', (now() at time zone 'UTC')::date - n)
from generate_series(0, 12) n;
insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)
select n % 1000, 'x', 1, 'count', now() at time zone 'UTC' - n * interval '1 s' from pg_temp.rows(1000000) n;
insert into public.event_subscriptions (subscription_id, user_id, shown_url, format, delivered_to, status, status_since,
  created_at)
select md5('b' || n)::uuid, 'u' || n % 1000, 'https://x', 'slack', '1.0.0',
  case when n % 100 = 0 then 'active' else 'off' end, now() - interval '1 day',
  now() - n * interval '1 minute'
from pg_temp.rows(100000) n;
set session_replication_role = origin;
