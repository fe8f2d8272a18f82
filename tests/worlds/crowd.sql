-- Some thousand rows of each table that sweeps read, and the messages of most of them. Written with no trigger.
set session_replication_role = replica;
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, disk_name, duration_hours,
  created_at, status_since, expires_at, ticket, gpus_held, waiting_since, line_number, reservation_ended)
select md5('r' || n)::uuid, 'u' || n, (array['queued', 'preparing', 'active', 'cancelled', 'expired'])[n % 5 + 1], 'h100',
  1, 'home', 8, now(), now() - interval '2 hours', now(), 3, (n % 5 in (1, 2))::integer, now(), n,
  case when n % 5 = 4 then now() end
from generate_series(1, 1000) n;
insert into pgmq.q_gpu_reservations (vt, message)
select now() + interval '1 hour', jsonb_build_object(
  'action', 'advance', 'reservation_id', md5('r' || n)::uuid::text, 'ticket', 3) from generate_series(11, 1000) n;
insert into pgmq.q_gpu_reservations (vt, message, headers)
select now() + interval '1 hour', jsonb_build_object(
  'action', 'cancel', 'reservation_id', md5('n' || n)::uuid::text), '{"pgfleet": {"sent_at": 1}}'
from generate_series(1, 1000) n;
insert into public.gpu_nodes (node_name, gpu_type, gpus, is_ready, is_cordoned, addresses, resource_version)
select 'g' || n, 'h100', 8, true, false, '{}', '1' from generate_series(1, 1000) n;
insert into public.gpu_pods (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase, is_ready,
  is_deleting, fingerprint, resource_version)
select 'p' || n, 'p' || n, 'pods', md5('r' || n)::uuid::text, 'h100', 'g' || n, 1, 'Running', true, false, 'f', '1'
from generate_series(1, 1000) n;
insert into public.disks (disk_id, disk_name, user_id, size_gb, reservation_id, ebs_volume_id, status, status_since,
  ticket, created_at)
select md5('d' || n)::uuid, 'home', 'u' || n, 10, case when n % 4 = 0 then md5('r' || n)::uuid::text end, 'vol-' || n,
  (array['attached', 'creating', 'deleted', 'available'])[n % 4 + 1], now() - interval '2 hours', 3, now()
from generate_series(1, 1000) n;
insert into public.disk_snapshots (snapshot_id, disk_id, kind, status, ebs_volume_id, ebs_snapshot_id, created_at,
  completed_at, status_since, ticket)
select md5('s' || n)::uuid, md5('d' || n)::uuid, 'manual', (array['creating', 'completed'])[n % 2 + 1], 'vol-' || n,
  'snap-' || n, now() - interval '60 days', case when n % 2 = 1 then now() - interval '60 days' end,
  now() - interval '2 hours', 3
from generate_series(1, 1000) n;
insert into public.disk_operations (operation_id, action, user_id, disk_name, body, disk_id, status, created_at,
  status_since)
select md5('o' || n)::uuid, 'create', 'u' || n, 'home', '{}', md5('d' || n)::uuid,
  (array['pending', 'in_progress'])[n % 2 + 1], now(), now() - interval '2 hours' from generate_series(1, 1000) n;
insert into pgmq.q_disk_operations (vt, message)
select now() + interval '1 hour', jsonb_build_object('action', 'advance', what.name, md5(what.letter || n)::uuid::text,
  'ticket', 3)
from generate_series(11, 1000) n,
  (values ('disk_id', 'd'), ('snapshot_id', 's'), ('operation_id', 'o')) what (name, letter);
insert into hopsworks.hopsworks_clusters (id, name, api_url, api_key, max_users, current_users, status)
select md5('c' || n)::uuid, 'c' || n, 'https://c', 'k', 1000, 100, 'active' from generate_series(1, 20) n;
insert into hopsworks.users (id, email, name, account_owner_id)
select 'u' || n, 'U' || n || '@x.com', 'n', case when n % 5 = 0 then 'u' || n / 5 end from generate_series(1, 1000) n;
insert into public.api_users (user_id, username, email) select n, 'a' || n, 'u' || n || '@X.com'
from generate_series(1, 1000) n;
insert into hopsworks.user_hopsworks_assignments (id, user_id, hopsworks_cluster_id, status, status_since, ticket,
  holds_seat, asked_at, hopsworks_user_id, hopsworks_username)
select md5('a' || n)::uuid, 'u' || n, case when n % 4 > 0 then md5('c' || n % 20 + 1)::uuid end,
  (array['pending', 'creating_user', 'active', 'active'])[n % 4 + 1], now() - interval '2 hours', 3, n % 4 > 0, now(), n, 'a' || n
from generate_series(1, 1000) n;
insert into hopsworks.accounts_to_close (id, user_id, hopsworks_cluster_id, hopsworks_user_id, asked_at)
select md5('k' || n)::uuid, 'u' || n, md5('c' || n % 20 + 1)::uuid, n, now() - interval '1 day'
from generate_series(1, 1000) n;
insert into hopsworks.health_check_failures (id, hopsworks_cluster_id, user_id, check_name, details, failures)
select md5('f' || n)::uuid, md5('c' || n % 20 + 1)::uuid, 'u' || n, 'account', 'x', 1 from generate_series(1, 500) n;
insert into pgmq.q_cluster_assignments (vt, message)
select now() + interval '1 hour', jsonb_build_object('action', what.action, 'user_id', 'u' || n, 'ticket', 3,
  'cluster_id', md5('c' || n % 20 + 1)::uuid::text)
from generate_series(11, 1000) n, (values ('advance'), ('close_account'), ('follow')) what (action);
insert into autoscaler.nodes (id, name, region, api_key_hash, status, last_heartbeat, status_since, skews, recent_ids)
select n, 'n' || n, 'r', 'k' || n, 'ACTIVE', now() at time zone 'UTC' - interval '1 hour' * (n % 10 = 0)::integer,
  now() - interval '1 day', '{0}', '{}' from generate_series(1, 1000) n;
insert into autoscaler.pools (id, node_id, oracle_pool_id, name, region, min_instances, max_instances,
  current_instances, is_active)
select n, n, 'p' || n, 'p', 'r', 0, 10, 2, true from generate_series(1, 1000) n;
insert into autoscaler.schedules (id, node_id, name, start_time, end_time, target_instances, is_active)
select n, n, 's', '00:00', '00:00', 4, true from generate_series(1, 1000) n;
insert into clusters.clusters (cluster_id, name, region, status, max_nodes, max_tenants, max_storage_gb)
select 'cluster-' || lpad(n::text, 8, '0') || '-2026-01-01-00-00-00-abcdefgh', 'c', 'r', 'active', 100, 100, 100
from generate_series(1, 1000) n;
insert into clusters.cluster_nodes (node_id, cluster_id, node_number, name, region, status, health_status,
  last_heartbeat, status_since, skews, recent_ids)
select 'node-' || lpad(n::text, 8, '0') || '-2026-01-01-1-abcdefgh',
  'cluster-' || lpad(n::text, 8, '0') || '-2026-01-01-00-00-00-abcdefgh', 1, 'n', 'r', 'online', 'healthy',
  now() - interval '1 hour' * (n % 100 = 0)::integer, now() - interval '1 day', '{0}', '{}'
from generate_series(1, 1000) n;
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)
select 'reservation', md5('r' || n)::uuid::text, 'active', 'expired', 'x', 'x', now() - interval '1 day'
from generate_series(1, 1000) n;
set session_replication_role = origin;
