-- 020: what the heartbeat worker remembers besides nodes and clusters: which heartbeats were counted, and what the last
-- sweeps saw. Its statements are in 141 to 146.

-- The ids of heartbeats that were counted: the same message again changes nothing. Kept for two days; a message that
-- comes again after that is too late to change anything but the history.
create table if not exists public.heartbeat_ids (
  id uuid primary key,
  at timestamptz not null default public.fleet_now()
);

create index if not exists heartbeat_ids_at_idx on public.heartbeat_ids (at);

insert into public.retention (table_name, time_column, keep, by_day, only_where) values
  ('public.heartbeat_ids', 'at', '2 days', false, null)
on conflict (table_name) do update set
  time_column = excluded.time_column, by_day = excluded.by_day, only_where = excluded.only_where;

-- What the offline sweep saw last, one row per kind of node. held_back: why it marked nobody although some were
-- silent; null when it did its work.
create table if not exists public.offline_sweeps (
  machine text primary key,
  swept_at timestamptz not null,
  alive integer not null,
  silent integer not null,
  marked integer not null,
  held_back text,
  held_back_since timestamptz,
  -- Most were silent at once: until then, those that are not back yet are given time to come.
  patient_until timestamptz
);

-- A heartbeat on its way through the functions of 142 and 143.
do $$
begin
  if to_regtype('autoscaler.heartbeat') is null then
    create type autoscaler.heartbeat as (place integer, id uuid, node_id integer, sent_at timestamptz, status text,
      error_message text, config_hash text, metrics jsonb, pools jsonb, reply_to text);
  end if;
  if to_regtype('clusters.heartbeat') is null then
    create type clusters.heartbeat as (place integer, id uuid, node_id text, sent_at timestamptz, status text,
      error_message text, config_hash text, cpu float8, memory float8, disk float8, load_average float8,
      metrics jsonb);
  end if;
end
$$;

insert into public.periodic (name, queue, message, every) values
  ('heartbeat.sweep', 'node_heartbeats', '{"action": "sweep"}', '15 seconds'),
  ('heartbeat.roll_up', 'node_heartbeats', '{"action": "roll_up"}', '60 seconds')
on conflict (name) do update set queue = excluded.queue, message = excluded.message;
