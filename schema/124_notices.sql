-- 124: how dead letters, outages, sweeps, Hopsworks clusters and new leaders come into the history (062), in the transaction
-- that they come about in. What is seen of them as events is in 167.
--
-- Their rows have no status_reason for log_moves (100) to read, and the state of some is made of several columns: each has
-- a trigger of its own, that says what it was and is. Operators see all of it; a user sees dead letters of their own.

-- Writes a move into the history, and refuses one that `moves` does not list. Called by the triggers below.
create or replace function public.tell_move(of_machine text, of_row text, was text, is_now text, why text) returns void
language plpgsql
as $$
begin
  if not exists (
    select from public.moves m
    where m.machine = of_machine and m.from_status = was and m.to_status = is_now)
  then
    perform public.refuse_move(of_machine, of_row, was, is_now);
  end if;
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)
  values (of_machine, of_row, was, is_now, coalesce(why, ''), public.signed_by());
end
$$;

-- The state of a dead letter. Called by tell_letters.
create or replace function public.letter_state(verdict text, answer text) returns text
language sql immutable parallel safe
as $$ select coalesce(answer, case verdict when 'rejection' then 'rejected' else 'failed' end) $$;

-- Tells of dead letters that come: of all that a statement writes at once, as a batch may have hundreds. A trigger of
-- public.dead_letters.
create or replace function public.tell_letters() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  who constant text := public.signed_by();
begin
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
  select 'dead_letter', n.dead_letter_id::text, '(new)', public.letter_state(n.verdict, n.answer), left(n.reason, 1000), who,
    n.msg_id
  from new_rows n order by n.dead_letter_id;
  return null;
end
$$;
revoke execute on function public.tell_letters() from public;

create or replace trigger tell_letters after insert on public.dead_letters referencing new table as new_rows
  for each statement execute function public.tell_letters();

-- Tells of a dead letter that is answered. A trigger of public.dead_letters.
create or replace function public.tell_answer() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.tell_move('dead_letter', new.dead_letter_id::text, public.letter_state(old.verdict, old.answer),
    public.letter_state(new.verdict, new.answer), format('%s by %s', new.answer, left(new.answered_by, 200)));
  return null;
end
$$;
revoke execute on function public.tell_answer() from public;

create or replace trigger tell_answer after update on public.dead_letters
  for each row when (old.answer is distinct from new.answer) execute function public.tell_answer();

-- Tells of an outage that begins or ends: of what, and what was answered. A trigger of public.outages.
create or replace function public.tell_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    perform public.tell_move('outage', new.outage_id::text, '(new)', 'open',
      format('%s (%s): %s: %s', new.dependency, new.calls, new.code, left(new.reason, 1000)));
  else
    perform public.tell_move('outage', new.outage_id::text, 'open', 'over',
      format('%s (%s) answers again, after %s', new.dependency, new.calls,
        public.in_words(new.ended_at - new.began_at)));
  end if;
  return null;
end
$$;
revoke execute on function public.tell_outage() from public;

create or replace trigger tell_outage after insert on public.outages
  for each row execute function public.tell_outage();
create or replace trigger tell_outage_over after update on public.outages
  for each row when (old.ended_at is null and new.ended_at is not null) execute function public.tell_outage();

-- Tells of a sweep for silent nodes that is held back, and of one that is no longer. A trigger of public.offline_sweeps.
create or replace function public.tell_sweep() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    perform public.tell_move('sweep', new.machine, '(new)', 'watching', 'the first one');
  elsif new.held_back is null then
    perform public.tell_move('sweep', new.machine, 'held', 'watching',
      format('%s of %s are silent, %s were marked offline', new.silent, new.alive, new.marked));
  else
    perform public.tell_move('sweep', new.machine, 'watching', 'held',
      format('%s of %s are silent: %s', new.silent, new.alive, new.held_back));
  end if;
  return null;
end
$$;
revoke execute on function public.tell_sweep() from public;

create or replace trigger tell_sweep_new after insert on public.offline_sweeps
  for each row execute function public.tell_sweep();
create or replace trigger tell_sweep after update on public.offline_sweeps
  for each row when ((old.held_back is null) <> (new.held_back is null)) execute function public.tell_sweep();

-- Tells of a Hopsworks cluster that is full, that takes users again, or that an operator opens or closes. One without a
-- status takes nobody. A trigger of hopsworks.hopsworks_clusters.
create or replace function hopsworks.tell_cluster() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  was text := '(new)';
  is_now constant text := coalesce(new.status, 'inactive');
begin
  if tg_op = 'UPDATE' then
    was := coalesce(old.status, 'inactive');
  end if;
  if was <> is_now then
    perform public.tell_move('hopsworks_cluster', new.id::text, was, is_now,
      case when is_now = 'full' or (was, is_now) = ('full', 'active')
        then format('%s of %s seats are taken', new.current_users, new.max_users)
        else public.move_reason(null) end);
  end if;
  return null;
end
$$;
revoke execute on function hopsworks.tell_cluster() from public;

create or replace trigger tell_cluster_new after insert on hopsworks.hopsworks_clusters
  for each row execute function hopsworks.tell_cluster();
create or replace trigger tell_cluster after update on hopsworks.hopsworks_clusters
  for each row when (old.status is distinct from new.status) execute function hopsworks.tell_cluster();

-- Tells of a cluster that has other leaders than before; the first ones that it ever has are nobody's failover, nor is its
-- end. A move of the same statement is told before it, by the order of the triggers' names. A trigger of clusters.clusters.
create or replace function clusters.tell_leaders() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, notice)
  select 'cluster', new.cluster_id, new.status, new.status,
    format('%s is %s, before it was %s, in epoch %s', l.role, coalesce(l.leads, 'nobody'), coalesce(l.led, 'nobody'), new.epoch),
    public.signed_by(), l.notice
  from (values
    (1, 'primary', old.primary_node_id, new.primary_node_id, 'failover'),
    (2, 'coordinator', old.coordinator_node_id, new.coordinator_node_id, 'coordinator_changed')
  ) l (place, role, led, leads, notice)
  where l.led is distinct from l.leads
  order by l.place;
  return null;
end
$$;
revoke execute on function clusters.tell_leaders() from public;

create or replace trigger tell_leaders after update on clusters.clusters
  for each row when (
    old.epoch > 0 and new.status <> 'decommissioning'
    and (old.primary_node_id is distinct from new.primary_node_id
      or old.coordinator_node_id is distinct from new.coordinator_node_id))
  execute function clusters.tell_leaders();
