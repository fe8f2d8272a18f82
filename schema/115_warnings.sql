-- 115: what a reservation is warned of while it runs is in its history, too: an entry that is no move, from the state that
-- it is in to the same one. Who reads the history (`watch`, events) has it like any other entry.

-- Writes the warning that was sent just now into the history. A trigger of public.reservations.
create or replace function public.note_warning() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, notice)
  values ('reservation', new.reservation_id, new.status, new.status, 'warned: ' || coalesce(new.warning, ''),
    public.signed_by(), 'warned');
  return null;
end
$$;
revoke execute on function public.note_warning() from public;

create or replace trigger note_warning after update on public.reservations
  for each row when (
    new.last_warning_time is distinct from old.last_warning_time and new.last_warning_time is not null
    or new.idle_warned_at is distinct from old.idle_warned_at and new.idle_warned_at is not null)
  execute function public.note_warning();

-- Keeps what a look at its GPUs has found (046). A trigger of public.reservations.
create or replace function public.note_use() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.gpu_use (reservation_id, read_at, percent) values (new.reservation_id, new.gpus_read_at, new.gpus_use)
  on conflict (reservation_id, read_at) do nothing;
  return null;
end
$$;
revoke execute on function public.note_use() from public;

create or replace trigger note_use after update on public.reservations
  for each row when (new.gpus_read_at is distinct from old.gpus_read_at and new.gpus_read_at is not null)
  execute function public.note_use();
