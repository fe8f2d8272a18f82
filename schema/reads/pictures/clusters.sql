-- What pages draw of clusters: scores and measurements of a day, nodes by health, and who would lead.

-- name: troubled
-- Clusters that somebody has to look at, those without any node first.
select c.cluster_id, c.name, c.status, c.status_reason
from clusters.clusters c
where c.status in ('offline', 'degraded')
order by c.status desc, c.name, c.cluster_id limit :most::integer;

-- name: scores
-- The health scores of these clusters in the last day, an average for each hour, the oldest first.
select f.about as cluster_id, date_bin('1 hour', f.at, 'epoch') as at, avg(f.value) as score
from public.figures f
where f.figure = 'cluster_score' and f.about = any (:clusters::text[]) and f.state = ''
  and f.at > public.fleet_now() - interval '1 day'
group by 1, 2 order by 1, 2;

-- name: nodes
-- Nodes of a cluster, those that need somebody first; of one sort (a status or a health) or of all.
select n.node_id, n.name, n.status, n.status_reason, n.health_status, n.priority, n.roles, n.region, n.cpu_usage_percent,
  n.memory_usage_percent, n.disk_usage_percent, n.load_average, n.error_message, n.last_heartbeat, n.status_since,
  case when n.status = 'online' then n.health_status else n.status end as how,
  count(*) over () as of_all
from clusters.cluster_nodes n
where n.cluster_id = :cluster::text and n.deleted_at is null
  and (:how::text is null or :how::text = case when n.status = 'online' then n.health_status else n.status end)
order by array_position('{offline,error,critical,warning,maintenance,provisioning,unknown,healthy,decommissioning}',
  case when n.status = 'online' then n.health_status else n.status end), n.node_number
limit :most::integer;

-- name: successors
-- The nodes that could lead a cluster, in the order in which they would.
select n.node_id, n.name, n.priority, n.health_status, f.place
from unnest(clusters.fit_nodes(:cluster::text)) with ordinality f (node_id, place)
join clusters.cluster_nodes n using (node_id)
order by f.place limit :most::integer;

-- name: measured
-- The averages of a cluster in each half hour of the last day, of what was measured first in it: a large cluster's whole day
-- would be millions of rows.
select p.place, avg(s.cpu) as cpu, avg(s.memory) as memory, avg(s.disk) as disk, avg(s.load) as load
from generate_series(0, 47) p (place)
cross join lateral (
  select date_bin('30 minutes', public.fleet_now(), 'epoch') - interval '23 hours 30 minutes'
    + p.place * interval '30 minutes' as since
) b
cross join lateral (
  select clusters.figure_in(m.metrics, 'cpu_usage_percent') as cpu,
    clusters.figure_in(m.metrics, 'memory_usage_percent') as memory,
    clusters.figure_in(m.metrics, 'disk_usage_percent') as disk, clusters.figure_in(m.metrics, 'load_average') as load
  from clusters.cluster_metrics m
  where m.cluster_id = :cluster::text and m.timestamp >= b.since and m.timestamp < b.since + interval '30 minutes'
  order by m.timestamp limit 200
) s
group by p.place order by p.place;
