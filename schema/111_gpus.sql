-- 111: GPUs are counted where they are held: no more than there are, and whoever frees some wakes the line.

-- Adds what a statement changed in gpus_held to gpu_types.held_gpus, type by type in name order, so that both agree
-- at every commit, whoever writes. A trigger of public.reservations.
create or replace function public.count_gpus() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changes text;
  change record;
begin
  -- What is placed holds none yet; the statement below is planned anew each time, which takes ten times as long as this.
  if tg_op = 'INSERT' then
    if not exists (select from new_rows n where n.gpus_held <> 0) then
      return null;
    end if;
  end if;
  changes := case tg_op
    when 'INSERT' then 'select gpu_type, gpus_held as gpus from new_rows'
    when 'DELETE' then 'select gpu_type, -gpus_held as gpus from old_rows'
    else 'select gpu_type, gpus_held as gpus from new_rows union all select gpu_type, -gpus_held from old_rows'
  end;
  for change in execute
    'select gpu_type, sum(gpus) as gpus from (' || changes || ') c group by gpu_type having sum(gpus) <> 0 order by 1'
  loop
    update public.gpu_types set held_gpus = held_gpus + change.gpus where gpu_type = change.gpu_type;
    if not found then
      raise exception 'there is no GPU type % whose GPUs could be held', change.gpu_type using errcode = 'PF003';
    end if;
  end loop;
  return null;
end
$$;

revoke execute on function public.count_gpus() from public;

create or replace trigger count_gpus_new after insert on public.reservations
  referencing new table as new_rows for each statement execute function public.count_gpus();
create or replace trigger count_gpus_changed after update on public.reservations
  referencing old table as old_rows new table as new_rows for each statement execute function public.count_gpus();
create or replace trigger count_gpus_gone after delete on public.reservations
  referencing old table as old_rows for each statement execute function public.count_gpus();

-- Refuses to hold more GPUs than the cluster has (a shrinking cluster is no reason to refuse giving some back), and
-- lets the line of a type move up when GPUs become free, whoever frees them. Of a type that follows its nodes (052), each
-- look at them sets the total: what is held stays so. A trigger of public.gpu_types.
create or replace function public.guard_gpus() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if new.follows_nodes
    and (not old.follows_nodes or new.last_availability_update is distinct from old.last_availability_update)
  then
    new.total_cluster_gpus := public.total_of(new);
  end if;
  if new.held_gpus > old.held_gpus and new.held_gpus > new.total_cluster_gpus then
    raise exception 'all GPUs of type % are taken (% of % would be held)',
      new.gpu_type, new.held_gpus, new.total_cluster_gpus using errcode = 'PF409';
  end if;
  if new.total_cluster_gpus - new.held_gpus > old.total_cluster_gpus - old.held_gpus
    or (new.is_active and not old.is_active) then
    perform pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', new.gpu_type));
  end if;
  return new;
end
$$;

revoke execute on function public.guard_gpus() from public;

create or replace trigger guard_gpus before update on public.gpu_types
  for each row execute function public.guard_gpus();
