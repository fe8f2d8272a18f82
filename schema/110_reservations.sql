-- 110: the queue and the machine of reservations.

select public.create_fleet_queue('gpu_reservations');
select public.guard_machine('public.reservations', 'reservation', 'reservation_id');

-- Keeps what the row itself says about its last move: since when, and seed 003's status_history (the last 100
-- entries; all of them are in public.status_history). A trigger of public.reservations.
create or replace function public.note_reservation_move() returns trigger
language plpgsql
as $$
begin
  new.status_since := public.fleet_now();
  new.status_history := jsonb_path_query_array(coalesce(new.status_history, '[]'), '$[last - 98 to last]')
    || jsonb_build_object(
      'timestamp', public.fleet_now(),
      'from', case when tg_op = 'UPDATE' then old.status else '(new)' end,
      'status', new.status,
      'reason', public.move_reason(new.status_reason));
  return new;
end
$$;

create or replace trigger note_move before update on public.reservations
  for each row when (old.status is distinct from new.status)
  execute function public.note_reservation_move();
create or replace trigger note_new before insert on public.reservations
  for each row execute function public.note_reservation_move();
