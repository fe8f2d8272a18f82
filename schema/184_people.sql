-- 184: what a person's own login needs beside its own rows (161): when GPUs come back, of everybody and without names.

-- The GPUs that active reservations give back some time after expires_at, and of which node.
create or replace view public.gpu_releases as
select r.gpu_type, r.expires_at, r.gpus_held,
  (select max(p.node_name) from public.gpu_pods p where p.reservation_id = r.reservation_id and p.gone_at is null)
    as node
from public.reservations r
where r.status = 'active' and r.gpus_held > 0 and r.expires_at is not null;

-- Sent as the owner, and so past the door: any action, headers and size.
-- squawk-ignore ban-drop-function
drop function if exists public.send_request(text, jsonb, jsonb), public.send_own(text, jsonb, jsonb);
