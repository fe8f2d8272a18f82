-- What the gateway asks of the database.

-- name: send
-- Sends a batch of heartbeats, each of its node; what each is answered, or why it was refused (149).
select place, refused, current_config_hash, config_update_needed, new_config
from public.send_node_heartbeats(:bodies::jsonb, :nodes::text[], :contract);
