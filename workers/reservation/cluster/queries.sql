-- What the watch and the look write down, by the functions of 176.

-- name: now
-- The database's time.
select public.fleet_now();

-- name: see_pods
-- Pods as they were seen; all of a namespace where `listed_at` is given.
select public.see_pods(:pods, :namespace, :listed_at::timestamptz);

-- name: see_service_gone
-- The service for SSH of a pod is gone.
select public.see_service_gone(:pod, :version);

-- name: see_pod_events
-- Events about pods, as they were seen.
select public.see_pod_events(:events);

-- name: see_nodes
-- Nodes as they were seen; all of them where `listed_at` is given.
select public.see_nodes(:nodes, :listed_at::timestamptz);

-- name: take_look
-- 0 where the look at everything is the caller's now, else for how many seconds it is not due.
select public.take_gpu_look();

-- name: note_look
-- What a look has found.
select public.note_gpu_look(:looker::text, :others::jsonb, :problem::text);
