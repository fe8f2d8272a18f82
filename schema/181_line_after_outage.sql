-- 181: while what their pods need is not answered, lines of reservations stand still; when it is again, they move on.

-- Sends a look at every line that somebody stands in. A trigger of public.outages.
create or replace function public.admit_after_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgmq.send('gpu_reservations', jsonb_build_object('action', 'admit', 'gpu_type', waiting.gpu_type))
  from (select distinct gpu_type from public.waiting_reservations where gpu_type is not null order by 1) waiting;
  return null;
end
$$;

revoke execute on function public.admit_after_outage() from public;

create or replace trigger admit_after_outage after update of ended_at on public.outages
  for each row when (
    old.ended_at is null and new.ended_at is not null
    and (new.dependency in ('kubernetes', 'ssh_keys') or new.dependency like 'aws.%'))
  execute function public.admit_after_outage();
