-- What a fleet of a few people has behind it: a month of reservations, disks, a day of figures, nodes of the autoscaler and
-- what they reported, clusters with their health, users on Hopsworks clusters, letters that somebody has to answer.
-- Written with no trigger. It goes before what is asked of a worker.
set session_replication_role = replica;
create temporary table people on commit preserve rows as
select n, name from unnest('{ada,grace,linus,margaret,edsger,barbara}'::text[]) with ordinality p (name, n);
create temporary table works on commit preserve rows as
select n, name from unnest(
  '{llama fine-tune,eval of checkpoints,diffusion run 12,ablation of the router,tokeniser sweep,protein folding,speech distillation}'::text[]
) with ordinality w (name, n);

insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, name, created_at,
  updated_at, status_since, launched_at, expires_at, ticket, gpus_held, reservation_ended, failure_reason)
select md5('r' || number)::uuid, p.name, s.status, (array['h100', 'a100', 'h100', 't4'])[number % 4 + 1], (array[1, 2, 4, 8])[number % 4 + 1],
  (array[4, 8, 12, 24])[number % 4 + 1], w.name, b.began - interval '4 minutes', b.began, b.began + b.took,
  case when s.status <> 'cancelled' then b.began end, case when s.status = 'expired' then b.began + b.took end, 3, 0,
  b.began + b.took, case when s.status = 'failed' then 'IMAGE_PULL: the image registry has no such image: pytorch:2.99' end
from generate_series(1, 90) number
join people p on p.n = number % 6 + 1
join works w on w.n = number % 7 + 1
cross join lateral (
  select now() - number * interval '8 hours' - interval '13 hours' as began, (array[4, 8, 11, 3])[number % 4 + 1] * interval '1 hour' as took) b
cross join lateral (select (array['expired', 'expired', 'cancelled', 'expired', 'failed', 'expired'])[number % 6 + 1] as status) s;
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)
select 'reservation', r.reservation_id::text, m.was, m.became, m.why, 'worker', r.created_at + m.after
from public.reservations r, (values ('(new)', 'pending', 'asked for', interval '0'), ('pending', 'queued', 'in line', interval '1 second'),
  ('queued', 'preparing', 'GPUs are free', interval '2 minutes'), ('preparing', 'active', 'its pod is ready', interval '4 minutes'))
  m (was, became, why, after)
where r.status = 'expired';

insert into public.disks (disk_id, disk_name, user_id, size_gb, status, status_since, ticket, created_at, last_used,
  last_snapshot_at, snapshot_count)
select md5('d' || n)::uuid, d.name, d.user_id, d.size_gb, d.status, now() - n * interval '7 hours', 3, now() - n * interval '6 days',
  now() - n * interval '5 hours', now() - n * interval '5 hours', 3
from (values (1, 'checkpoints', 'ada', 500, 'available'), (2, 'datasets', 'grace', 2000, 'available'),
  (3, 'home', 'linus', 100, 'available'), (4, 'scratch', 'margaret', 250, 'deleted'), (5, 'corpora', 'ada', 1200, 'available')
) d (n, name, user_id, size_gb, status);
update public.disks set marked_deleted_at = now() - interval '2 days', delete_date = current_date + 28 where status = 'deleted';
insert into public.disk_snapshots (snapshot_id, disk_id, kind, status, ebs_snapshot_id, size_gb, created_at, completed_at,
  status_since, ticket)
select md5('s' || n)::uuid, md5('d' || n % 5 + 1)::uuid, (array['shutdown', 'manual', 'shutdown'])[n % 3 + 1], 'completed',
  'snap-0a1b2c3d4e5f' || lpad(n::text, 4, '0'), 100, now() - n * interval '9 hours', now() - n * interval '9 hours', now() - interval '2 hours', 3
from generate_series(1, 15) n;
insert into public.disk_operations (operation_id, action, user_id, disk_name, body, status, created_at, status_since)
select md5('o' || n)::uuid, a.action, 'ada', 'checkpoints', '{}', 'completed', now() - n * interval '11 hours', now() - n * interval '11 hours'
from unnest('{create_snapshot,restore_disk,clone_disk}'::text[]) with ordinality a (action, n);
insert into public.disk_quarantine (resource_id, reason, found_at)
values ('vol-0f3a9c21d7', 'no row names it', now() - interval '5 hours');

-- A day of figures, every five minutes.
insert into public.figures (at, figure, about, state, value)
select f.at, 'gpus', t.name, s.state, s.value
from (select date_bin('5 minutes', now(), 'epoch') - n * interval '5 minutes' as at, n from generate_series(0, 287) n) f
cross join (values ('h100', 16, 0.0, 0.75, 14), ('a100', 8, 1.3, 0.55, 5), ('t4', 8, 2.6, 0.35, 2)) t (name, total, phase, usual, now)
-- In the end as many as are held in fact.
cross join lateral (select case when f.n < 9 then t.now else round(t.total * greatest(0, least(1,
  t.usual + 0.3 * sin(f.n / 46.0 + t.phase) + 0.08 * sin(f.n / 5.0 + t.phase)))) end as held) h
cross join lateral (values ('total', t.total), ('held', h.held), ('free', t.total - h.held),
  ('waiting', greatest(0, h.held - t.total + 2) * 4)) s (state, value);
insert into public.figures (at, figure, about, state, value)
select f.at, k.figure, q.queue_name, k.state, k.value
from (select date_bin('5 minutes', now(), 'epoch') - n * interval '5 minutes' as at, n from generate_series(0, 287) n) f
cross join public.fleet_queues q
cross join lateral (values
  ('queue_messages', 'ready', greatest(0, round(6 * sin(f.n / 19.0 + length(q.queue_name)))::double precision)),
  ('queue_flow', 'in', (288 - f.n) * 40.0 + 90 * sin(f.n / 30.0)), ('queue_flow', 'out', (288 - f.n) * 40.0 + 85 * sin(f.n / 30.0))
) k (figure, state, value);

insert into autoscaler.nodes (id, name, region, ip_address, description, api_key_hash, status, last_heartbeat, status_since, skews,
  recent_ids, error_message)
select n, r.region || '-' || lpad(n::text, 2, '0'), r.region, '10.1.' || n % 4 || '.' || n, 'rack ' || n % 7, 'k' || n,
  (case when n = 17 then 'OFFLINE' when n = 9 then 'ERROR' else 'ACTIVE' end)::autoscaler.node_status,
  now() at time zone 'UTC' - case when n = 17 then interval '3 hours' else n * interval '1 second' end, now() - n * interval '1 hour',
  '{0}', '{}', case when n = 9 then 'disk_pressure: the volume of the pool is 97 % full' end
from generate_series(1, 44) n
cross join lateral (select (array['frankfurt', 'ashburn', 'phoenix', 'osaka'])[n % 4 + 1] as region) r;
select setval('autoscaler.nodes_id_seq', 44);
insert into autoscaler.pools (id, node_id, oracle_pool_id, name, region, min_instances, max_instances, current_instances, is_active,
  last_reported_at, active_instances, avg_cpu_utilization, avg_memory_utilization)
select n, n, 'ocid1.instancepool.oc1.' || n, 'gpu-pool', x.region, 1, 8, 1 + n % 6, true, now(), 1 + n % 6, 20 + n, 40 + n
from autoscaler.nodes x join generate_series(1, 12) n on n = x.id;
select setval('autoscaler.pools_id_seq', 12);
insert into autoscaler.schedules (node_id, name, start_time, end_time, target_instances, is_active)
values (1, 'working hours', '08:00', '19:00', 6, true), (1, 'night', '22:00', '06:00', 1, true),
  (2, 'weekly evaluation', '18:00', '23:30', 4, false);
insert into autoscaler.node_configurations (node_id, yaml_config, config_hash, is_active, created_at)
select n, y.yaml, encode(sha256(y.yaml::bytea), 'hex'), y.place = 2, now() at time zone 'UTC' - (3 - y.place) * interval '3 days'
from generate_series(1, 3) n, (values
  (1, E'scaling_limits:\n  min: 1\n  max: 6\nimage: worker:1.8\n'), (2, E'scaling_limits:\n  min: 1\n  max: 8\nimage: worker:1.9\n')
) y (place, yaml);
update autoscaler.nodes n set config_hash = c.config_hash from autoscaler.node_configurations c
where c.node_id = n.id and c.is_active and n.id <> 3;
insert into autoscaler.node_heartbeats (node_id, status, error_message, timestamp)
select x.id, case when x.id = 9 and n > 200 then 'error' else 'ok' end, case when x.id = 9 and n > 200 then 'disk_pressure' end,
  now() at time zone 'UTC' - (n * interval '5 minutes')
from autoscaler.nodes x, generate_series(1, 287) n where x.id in (1, 9) and not (x.id = 1 and n between 100 and 108);
insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)
select 1, m.name, m.low + m.high * (1 + sin(n / 23.0 + m.low)) / 2, m.unit, now() at time zone 'UTC' - n * interval '5 minutes'
from generate_series(1, 287) n,
  (values ('cpu_percent', 20, 60, '%'), ('memory_percent', 50, 30, '%'), ('load', 1, 7, '')) m (name, low, high, unit);

insert into hopsworks.hopsworks_clusters (name, api_url, api_key, max_users, current_users, status)
values ('east', 'https://east.example.org', 'secret', 40, 31, 'active'),
  ('west', 'https://west.example.org', 'secret', 40, 12, 'active'), ('old', 'https://old.example.org', 'secret', 10, 10, 'full');
insert into hopsworks.users (id, email, name, created_at)
select 'auth0|' || md5('u' || n), 'person' || n || '@example.org', 'Person ' || n, now() - n * interval '2 days'
from generate_series(1, 24) n;
insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id, assigned_by, hopsworks_username, status, status_since, assigned_at)
select u.id, c.id, 'system', 'p' || u.n, 'active', now() - u.n * interval '1 day', now() - u.n * interval '1 day'
from (select id, row_number() over (order by created_at desc) as n from hopsworks.users) u
join hopsworks.hopsworks_clusters c on c.name = (array['east', 'west', 'east', 'old'])[u.n % 4 + 1]
where u.n <= 20;
insert into hopsworks.usage_daily (user_id, date, cpu_hours, gpu_hours, storage_gb_months, total_cost, hopsworks_cluster_id)
select u.id, current_date - d, (3 + u.n + d) % 17, (u.n * d) % 9, 1.5, round(((u.n * d) % 9) * 2.4 + 1, 2), c.id
from (select id, row_number() over (order by created_at desc) as n from hopsworks.users) u
cross join generate_series(0, 29) d join hopsworks.hopsworks_clusters c on c.name = 'east' where u.n <= 8;

insert into public.dead_letters (queue, msg_id, row_id, reason, enqueued_at, died_at, message, verdict)
select q.queue, n, r.reservation_id::text, q.reason, now() - n * interval '50 minutes', now() - n * interval '40 minutes',
  jsonb_build_object('action', 'advance', 'reservation_id', r.reservation_id::text, 'user_id', r.user_id, 'ticket', 3), q.verdict
from generate_series(1, 3) n
join lateral (select reservation_id, user_id from public.reservations order by reservation_id offset n limit 1) r on true
cross join lateral (select (array['gpu_reservations', 'gpu_reservations', 'disk_operations'])[n] as queue,
  (array['TimeoutError: the API of the cluster did not answer within 20 s, 7 times', 'gpu_count: 3 is none of 1, 2, 4, 8',
    'KeyError: nothing of that name'])[n] as reason,
  (array['failure', 'rejection', 'failure'])[n] as verdict) q;
set session_replication_role = origin;
