-- 114: the rows of gangs (045).

-- These ids, and those of all rows of the gangs that they belong to. Called by workers. By arrays, and no join: with
-- statistics of an empty table each would have all reservations read.
create or replace function public.with_gangs(ids text[]) returns text[]
language sql stable
as $$
  select ids || array(
    select m.reservation_id::text from public.reservations m
    where m.master_reservation_id = any (array(
      select r.master_reservation_id from public.reservations r
      where r.reservation_id = any (ids) and r.master_reservation_id is not null))
    and m.reservation_id <> all (ids))
$$;
