-- 178: ids as people type them. Whoever reads takes the beginning of an id where it is unique.

-- The shortest beginning of an id, of at least 8 characters, that no other reservation has; an id without a row has one, too.
-- Ids that begin alike are neighbours in the order of ids: two looks into the primary key, however many rows there are.
create or replace function public.short_reservation_id(whole text) returns text
language sql stable parallel safe
as $$
  select left(whole, greatest(8, 1 + coalesce(max(n), 0)))
  from (
    (select r.reservation_id from public.reservations r
     where r.reservation_id < whole order by r.reservation_id desc limit 1)
    union all
    (select r.reservation_id from public.reservations r
     where r.reservation_id > whole order by r.reservation_id limit 1)
  ) neighbours (id),
  generate_series(1, length(whole)) n
  where left(id, n) = left(whole, n)
$$;
