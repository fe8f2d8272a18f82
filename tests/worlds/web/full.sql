-- A large fleet, as it would be after months: 100,000 reservations of which 500 wait, 10,000 nodes, a million messages,
-- 50,000 dead letters, 5,000 people with what they have used. Written with no trigger.
set session_replication_role = replica;
update public.gpu_types set total_cluster_gpus = 1600, held_gpus = 1500 where gpu_type in ('h100', 'a100', 'l4');
insert into public.gpu_nodes (node_name, gpu_type, gpus, is_ready, is_cordoned, addresses, resource_version)
select t.name || '-' || n, t.name, 8, true, false, '{}', '1'
from (values ('h100'), ('a100'), ('l4')) t (name), generate_series(0, 199) n;
-- 500 wait, 4,500 hold a GPU, the others are over.
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, name, disk_name,
  created_at, updated_at, status_since, launched_at, expires_at, ticket, gpus_held, waiting_since, line_number,
  reservation_ended, pod_node, pod_name, current_detailed_status)
select md5('r' || n)::uuid, 'user-' || n % 500, s.status, s.gpu_type, 1, 8, 'training ' || n,
  case when n % 3 = 0 then 'home' end, now() - n * interval '2 minutes', now() - n * interval '2 minutes',
  now() - n * interval '2 minutes',
  case when s.status not in ('queued', 'cancelled') then now() - n * interval '2 minutes' end,
  case when s.status = 'active' then now() + n * interval '10 seconds'
    when s.status = 'expired' then now() - n * interval '1 minute' end,
  3, (s.status = 'active')::integer,
  now() - n * interval '2 minutes', n,
  case when s.status not in ('queued', 'active') then now() - n * interval '2 minutes' + interval '20 seconds' end,
  case when s.status = 'active' then s.gpu_type || '-' || n % 200 end,
  case when s.status = 'active' then 'gpu-' || n end,
  case when s.status = 'queued' then 'NO_CAPACITY: waits for GPUs' end
from generate_series(1, 100000) n
cross join lateral (
  select case when n <= 500 then 'queued' when n <= 5000 then 'active'
      else (array['expired', 'cancelled', 'expired', 'failed'])[n % 4 + 1] end as status,
    (array['h100', 'a100', 'l4'])[n % 3 + 1] as gpu_type) s;
insert into public.gpu_pods (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase, is_ready,
  is_deleting, fingerprint, resource_version)
select 'p' || r.line_number, r.pod_name, 'pods', r.reservation_id, r.gpu_type, r.pod_node, 1, 'Running', true, false, 'f', '1'
from public.reservations r where r.status = 'active';
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)
select 'reservation', md5('r' || n)::uuid::text, m.was, m.became, 'as asked', 'worker', now() - n * interval '2 minutes'
from generate_series(1, 100000) n,
  (values ('(new)', 'pending'), ('pending', 'queued'), ('queued', 'preparing'), ('preparing', 'active')) m (was, became);
insert into public.disks (disk_id, disk_name, user_id, size_gb, ebs_volume_id, status, status_since, ticket, created_at)
select md5('d' || n)::uuid, case when n <= 500 then 'home' else 'data-' || n end, 'user-' || n % 500, 100, 'vol-' || n,
  'available', now() - interval '2 hours', 3, now() - n * interval '1 hour'
from generate_series(1, 5000) n;
insert into public.disk_snapshots (snapshot_id, disk_id, kind, status, ebs_volume_id, ebs_snapshot_id, created_at,
  completed_at, status_since, ticket)
select md5('s' || n)::uuid, md5('d' || n % 5000 + 1)::uuid, 'manual', 'completed', 'vol-' || n, 'snap-' || n,
  now() - n * interval '10 minutes', now() - n * interval '10 minutes', now() - interval '2 hours', 3
from generate_series(1, 25000) n;
insert into autoscaler.nodes (id, name, region, api_key_hash, status, last_heartbeat, status_since, skews, recent_ids)
select n, 'node-' || n, 'region-' || n % 40, 'k' || n, 'ACTIVE',
  now() at time zone 'UTC' - interval '1 hour' * (n % 100 = 0)::integer, now() - interval '1 day', '{0}', '{}'
from generate_series(1, 10000) n;
insert into autoscaler.pools (id, node_id, oracle_pool_id, name, region, min_instances, max_instances,
  current_instances, is_active)
select n, n, 'p' || n, 'p', 'region-' || n % 40, 0, 10, 2, true from generate_series(1, 10000) n;
insert into autoscaler.schedules (id, node_id, name, start_time, end_time, target_instances, is_active)
select n, n, 's', '00:00', '00:00', 4, true from generate_series(1, 10000) n;
insert into clusters.clusters (cluster_id, name, region, status, max_nodes, max_tenants, max_storage_gb)
select 'cluster-' || lpad(n::text, 8, '0') || '-2026-01-01-00-00-00-abcdefgh', 'cluster ' || n, 'r',
  case when n % 50 = 0 then 'degraded' else 'active' end, 100, 100, 100
from generate_series(1, 500) n;
insert into clusters.cluster_nodes (node_id, cluster_id, node_number, name, region, status, health_status,
  last_heartbeat, status_since, skews, recent_ids)
select 'node-' || lpad(n::text, 8, '0') || '-2026-01-01-1-abcdefgh',
  'cluster-' || lpad((n % 500 + 1)::text, 8, '0') || '-2026-01-01-00-00-00-abcdefgh', n / 500 + 1, 'n' || n, 'r', 'online',
  'healthy', now() - interval '1 hour' * (n % 100 = 0)::integer, now() - interval '1 day', '{0}', '{}'
from generate_series(1, 10000) n;
-- Most wait for their time, as the timers of reservations do.
insert into pgmq.q_gpu_reservations (vt, enqueued_at, message)
select now() + (n - 100000) * interval '1 second', now() - n * interval '1 second', jsonb_build_object(
  'action', 'advance', 'reservation_id', md5('r' || n % 100000)::uuid::text, 'ticket', 3) from generate_series(1, 700000) n;
insert into pgmq.q_disk_operations (vt, enqueued_at, message)
select now() + n * interval '1 second', now() - n * interval '1 second', jsonb_build_object(
  'action', 'advance', 'disk_id', md5('d' || n % 5000)::uuid::text, 'ticket', 3) from generate_series(1, 300000) n;
insert into public.dead_letters (queue, msg_id, row_id, reason, enqueued_at, died_at, message, verdict)
select (array['gpu_reservations', 'disk_operations'])[n % 2 + 1], n, md5('r' || n)::uuid::text, 'KeyError: nothing of that name',
  now() - n * interval '1 minute', now() - n * interval '1 minute',
  jsonb_build_object('action', 'advance', 'reservation_id', md5('r' || n)::uuid::text, 'user_id', 'user-' || n % 500),
  (array['failure', 'rejection'])[n % 2 + 1]
from generate_series(1, 50000) n;
-- 5,000 people, each with ten keys; a place on one of ten Hopsworks clusters, and what they used in 40 days.
insert into autoscaler.users (email, full_name, role)
select 'user-' || n || '@example.com', 'User ' || n, 'USER' from generate_series(2, 5000) n;
insert into public.api_users (username, email, account_id)
select split_part(u.email, '@', 1), u.email, u.id from autoscaler.users u where u.email like 'user-%@example.com';
insert into public.api_keys (user_id, key_hash, key_prefix, created_at, expires_at, is_active)
select a.user_id, md5(a.user_id || '/' || n), 'pf_' || n, now() - n * interval '30 days',
  now() - (n - 2) * interval '30 days', n = 1
from public.api_users a, generate_series(1, 10) n where a.email like 'user-%@example.com';
insert into hopsworks.hopsworks_clusters (id, name, api_url, api_key, max_users, current_users)
select md5('h' || n)::uuid, 'hopsworks-' || n, 'https://hopsworks.example/' || n, 'secret', 1000, 500
from generate_series(1, 10) n;
insert into hopsworks.users (id, email, name, hopsworks_username)
select 'auth0|' || n, 'user-' || n || '@example.com', 'User ' || n, 'user' || n from generate_series(1, 5000) n;
insert into hopsworks.user_hopsworks_assignments (id, user_id, hopsworks_cluster_id, assigned_by, hopsworks_username,
  status, status_since, ticket, holds_seat, hopsworks_user_id)
select md5('a' || n)::uuid, 'auth0|' || n, md5('h' || n % 10 + 1)::uuid, 'system', 'user' || n, 'active',
  now() - n * interval '1 minute', 3, true, n
from generate_series(1, 5000) n;
insert into hopsworks.usage_daily (user_id, date, cpu_hours, gpu_hours, storage_gb_months, total_cost,
  hopsworks_cluster_id, seat_days)
select 'auth0|' || n, current_date - d, 8, 2, 3, 12.5, md5('h' || n % 10 + 1)::uuid, 1
from generate_series(1, 5000) n, generate_series(0, 39) d;
-- 200 subscriptions with 50 deliveries each, and 100,000 lines of the audit.
insert into public.event_subscriptions (subscription_id, user_id, shown_url, format, delivered_to, status, deliveries)
select md5('e' || n)::uuid, 'user-' || n, 'https://example.com/...', 'cloudevents', '1.1.1', 'active', 50
from generate_series(1, 200) n;
insert into public.event_deliveries (subscription_id, place, number, user_id, after_position, to_position, events, result,
  tries, answer, begun_at, ended_at)
select md5('e' || n)::uuid, p, p, 'user-' || n, '1.1.1', '1.1.1', 10, 'delivered', 1, '200',
  now() - p * interval '1 minute', now() - p * interval '1 minute'
from generate_series(1, 200) n, generate_series(1, 50) p;
insert into autoscaler.audit_logs (user_email, user_role, action, category, resource_type, resource_id, "timestamp")
select 'user-' || n % 500 || '@example.com', 'USER', 'RESERVATION_CREATED', 'SYSTEM', 'reservation',
  md5('r' || n)::uuid::text, now() at time zone 'UTC' - n * interval '1 minute'
from generate_series(1, 100000) n;
set session_replication_role = origin;
