-- 131: seats are counted where they are held: hopsworks_clusters.current_users is how many rows have one, and never
-- more than max_users.

-- Refuses one user more than fit, whoever adds one (PF409: who looks again may find another cluster), and sets or
-- clears `full`. A smaller max_users is no reason to refuse that somebody leaves. `maintenance` and `inactive` are
-- set by operators and stay. A trigger of hopsworks.hopsworks_clusters.
create or replace function hopsworks.guard_seats() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'UPDATE' and new.current_users > old.current_users and new.current_users > new.max_users
    or tg_op = 'INSERT' and new.current_users > new.max_users then
    raise exception 'all seats of Hopsworks cluster % are taken (% of % would be)',
      new.name, new.current_users, new.max_users using errcode = 'PF409';
  end if;
  if new.status = 'active' and new.current_users >= new.max_users then
    new.status := 'full';
  elsif new.status = 'full' and new.current_users < new.max_users then
    new.status := 'active';
  end if;
  return new;
end
$$;

create or replace trigger guard_seats before insert or update on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.guard_seats();

-- Adds what a statement changed in holds_seat to current_users, cluster by cluster in key order; guard_seats refuses
-- what does not fit. Another service may have written rows on a cluster without holds_seat: what is counted beyond
-- the rows that hold a seat is theirs. The worker adopts such a row without counting it again, as long as there are
-- such seats; then it takes one like everybody, and one too many is refused for good (PF007). Leaving gives one of
-- them back. A trigger of hopsworks.user_hopsworks_assignments.
create or replace function hopsworks.count_seats() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changes text;
  change record;
  counted integer;
  most integer;
  held integer;
begin
  changes := case tg_op
    when 'INSERT' then
      'select hopsworks_cluster_id, 1 as seats, 0 as adopted, 0 as left_uncounted from new_rows where holds_seat'
    else 'select n.hopsworks_cluster_id, (not a.adopts)::integer as seats, a.adopts::integer as adopted,
            0 as left_uncounted
          from new_rows n join old_rows o using (id)
          cross join lateral (select o.status = ''pending'' and n.status = ''creating_user'' and not o.holds_seat
            and o.hopsworks_cluster_id is not distinct from n.hopsworks_cluster_id as adopts) a
          where n.holds_seat
          union all select hopsworks_cluster_id, -1, 0, 0 from old_rows where holds_seat
          union all select o.hopsworks_cluster_id, 0, 0, 1 from old_rows o join new_rows n using (id)
          where o.hopsworks_cluster_id is not null and not o.holds_seat and n.hopsworks_cluster_id is null'
  end;
  for change in execute
    'select hopsworks_cluster_id, sum(seats) as seats, sum(adopted) as adopted, sum(left_uncounted) as left_uncounted
     from (' || changes || ') c group by hopsworks_cluster_id
     having sum(seats) <> 0 or sum(adopted) > 0 or sum(left_uncounted) > 0 order by hopsworks_cluster_id'
  loop
    update hopsworks.hopsworks_clusters
    set current_users = greatest(current_users + change.seats, 0)
    where id = change.hopsworks_cluster_id
    returning current_users, max_users into counted, most;
    continue when change.adopted = 0 and change.left_uncounted = 0;
    select count(*) into held from hopsworks.user_hopsworks_assignments
    where hopsworks_cluster_id = change.hopsworks_cluster_id and holds_seat;
    if held > counted and held > most then
      raise exception 'all % seats of Hopsworks cluster % are taken', most, change.hopsworks_cluster_id
        using errcode = 'PF007';
    end if;
    update hopsworks.hopsworks_clusters
    set current_users = greatest(held, counted - change.left_uncounted)
    where id = change.hopsworks_cluster_id and current_users <> greatest(held, counted - change.left_uncounted);
  end loop;
  return null;
end
$$;

revoke execute on function hopsworks.count_seats() from public;

create or replace trigger count_seats_new after insert on hopsworks.user_hopsworks_assignments
  referencing new table as new_rows for each statement execute function hopsworks.count_seats();
create or replace trigger count_seats_changed after update on hopsworks.user_hopsworks_assignments
  referencing old table as old_rows new table as new_rows
  for each statement execute function hopsworks.count_seats();

-- Takes a seat without an assignment; called by services that count by themselves. Past max_users: PF409. An id that
-- is no cluster's changes nothing.
create or replace function hopsworks.increment_cluster_users(cluster_id uuid) returns void
language plpgsql
as $$
begin
  update hopsworks.hopsworks_clusters
  set current_users = current_users + 1
  where id = cluster_id;
end
$$;

-- Gives a seat back, never below 0; called by services that count by themselves.
create or replace function hopsworks.decrement_cluster_users(cluster_id uuid) returns void
language plpgsql
as $$
begin
  update hopsworks.hopsworks_clusters
  set current_users = greatest(current_users - 1, 0)
  where id = cluster_id;
end
$$;
