-- 199: the rows of a gang (045) are in one state at every commit, whoever moves them; and its first has what it has once.

-- Refuses a commit in which rows of a gang are in different states. A trigger of public.reservations, looked at when all
-- of the transaction is done.
create or replace function public.keep_gang_together() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  apart constant text := (
    select string_agg(distinct r.status, ', ' order by r.status) from public.reservations r
    where r.master_reservation_id = new.master_reservation_id having count(distinct r.status) > 1);
begin
  if apart is not null then
    raise exception 'the nodes of gang % would be in different states: %', new.master_reservation_id, apart
      using errcode = 'PF012', hint = 'What moves one of its rows moves all of them, in one transaction.';
  end if;
  return null;
end
$$;
revoke execute on function public.keep_gang_together() from public;

do $$
begin
  if not exists (
    select from pg_catalog.pg_trigger
    where tgrelid = 'public.reservations'::regclass and tgname = 'keep_gang_together') then
    create constraint trigger keep_gang_together after insert or update of status on public.reservations
      deferrable initially deferred
      for each row when (new.master_reservation_id is not null) execute function public.keep_gang_together();
  end if;
end
$$;

-- Refuses a disk and Jupyter on any node of a gang but the first, to whoever writes them. Those that are there already, of
-- an older version, go on. A trigger of public.reservations.
create or replace function public.keep_to_first_node() returns trigger
language plpgsql
as $$
begin
  raise exception '%: reservation % is not the first node of %, and only that has a disk and Jupyter',
    case when new.disk_name is not null then 'disk_name' else 'jupyter_enabled' end, new.reservation_id,
    coalesce('gang ' || new.master_reservation_id, 'its gang')
    using errcode = 'PF004', hint = format(
      'Write it into the row of %s.', coalesce('reservation ' || new.master_reservation_id, 'the first node'));
end
$$;
revoke execute on function public.keep_to_first_node() from public;

create or replace trigger keep_to_first_node_new before insert on public.reservations
  for each row when (
    (new.node_index > 0 or new.master_reservation_id <> new.reservation_id)
    and (new.jupyter_enabled or new.disk_name is not null))
  execute function public.keep_to_first_node();
create or replace trigger keep_to_first_node
  before update of jupyter_enabled, disk_name, node_index, master_reservation_id on public.reservations
  for each row when (
    (new.node_index > 0 or new.master_reservation_id <> new.reservation_id)
    and (new.jupyter_enabled or new.disk_name is not null)
    and ((old.node_index > 0 or old.master_reservation_id <> old.reservation_id)
      and (old.jupyter_enabled or old.disk_name is not null)) is not true)
  execute function public.keep_to_first_node();
