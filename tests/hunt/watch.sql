-- What has to hold at every commit, whoever commits, beside what tests of disks watch (`public.violations` is theirs);
-- and who has put messages into queues and taken them out.
create function public.note_gpus() returns trigger language plpgsql security definer as $$
begin
  insert into public.violations
  select format('%s GPUs are counted, its rows hold %s, there are %s', g.held_gpus, sum(r.gpus_held), g.total_cluster_gpus),
    g.gpu_type
  from public.gpu_types g left join public.reservations r on r.gpu_type = g.gpu_type and r.gpus_held > 0
  where g.gpu_type = new.gpu_type
  group by g.gpu_type
  having g.held_gpus <> coalesce(sum(r.gpus_held), 0)
    or new.gpus_held > old.gpus_held and g.held_gpus > g.total_cluster_gpus;
  return null;
end
$$;
create constraint trigger note_gpus after update of gpus_held on public.reservations
  deferrable initially deferred for each row execute function public.note_gpus();

create function public.note_seats() returns trigger language plpgsql security definer as $$
begin
  insert into public.violations
  select format('%s seats are counted, %s are held, there are %s', c.current_users, count(a.id), c.max_users), c.name
  from hopsworks.hopsworks_clusters c
  left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id and a.holds_seat
  where c.id in (new.hopsworks_cluster_id, old.hopsworks_cluster_id)
  group by c.id
  having c.current_users <> count(a.id) or c.current_users > c.max_users;
  return null;
end
$$;
create constraint trigger note_seats after update on hopsworks.user_hopsworks_assignments
  deferrable initially deferred for each row execute function public.note_seats();

-- Whoever hands out a row's ticket sends it in the same commit: the views of rows that sweeps repair, without their grace.
do $$
declare
  machine text;
begin
  foreach machine in array '{reservation,disk,disk_snapshot,assignment,subscription}'::text[] loop
    execute format('create view public.unsent_%s as %s', machine,
      replace(pg_get_viewdef(format('public.forgotten_%s', machine)::regclass), '''00:00:10''::interval',
        '''-1 days''::interval'));
  end loop;
end
$$;
create function public.note_ticket() returns trigger language plpgsql security definer as $$
declare
  is_unsent boolean;
begin
  if tg_op = 'UPDATE' and old.ticket is not distinct from new.ticket then
    return null;
  end if;
  execute format('select exists (select from public.unsent_%s where row_id = $1 and ticket = $2)', tg_argv[0])
  into is_unsent using to_jsonb(new) ->> tg_argv[1], new.ticket;
  if is_unsent then
    insert into public.violations
    values (format('ticket %s of a %s was not sent', new.ticket, tg_argv[0]), to_jsonb(new) ->> tg_argv[1]);
  end if;
  return null;
end
$$;
create constraint trigger note_ticket after insert or update on public.reservations
  deferrable initially deferred for each row execute function public.note_ticket('reservation', 'reservation_id');
create constraint trigger note_ticket after insert or update on public.disks
  deferrable initially deferred for each row execute function public.note_ticket('disk', 'disk_id');
create constraint trigger note_ticket after insert or update on public.disk_snapshots
  deferrable initially deferred for each row execute function public.note_ticket('disk_snapshot', 'snapshot_id');
create constraint trigger note_ticket after insert or update on hopsworks.user_hopsworks_assignments
  deferrable initially deferred for each row execute function public.note_ticket('assignment', 'user_id');
create constraint trigger note_ticket after insert or update on public.event_subscriptions
  deferrable initially deferred for each row execute function public.note_ticket('subscription', 'subscription_id');

-- A message that is gone from its queue: `taken` by a foreign client, else settled. Its body as it was sent.
create table public.sent (queue text, msg_id bigint, body jsonb, gone boolean not null default false,
  taken boolean not null default false, primary key (queue, msg_id));
create function public.note_sent() returns trigger language plpgsql security definer as $$
begin
  if tg_op = 'INSERT' then
    insert into public.sent (queue, msg_id, body) values (tg_argv[0], new.msg_id, new.message);
  else
    update public.sent set gone = true, taken = coalesce(current_setting('hunt.stranger', true), '') = 'on'
    where queue = tg_argv[0] and msg_id = old.msg_id;
  end if;
  return null;
end
$$;
create trigger note_sent after insert or delete on pgmq.q_gpu_reservations
  for each row execute function public.note_sent('gpu_reservations');
create trigger note_sent after insert or delete on pgmq.q_disk_operations
  for each row execute function public.note_sent('disk_operations');
create trigger note_sent after insert or delete on pgmq.q_cluster_assignments
  for each row execute function public.note_sent('cluster_assignments');
create trigger note_sent after insert or delete on pgmq.q_node_heartbeats
  for each row execute function public.note_sent('node_heartbeats');
create trigger note_sent after insert or delete on pgmq.q_event_deliveries
  for each row execute function public.note_sent('event_deliveries');
