-- 199: the rows of a gang (045) are in one state at every commit, whoever moves them.

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
