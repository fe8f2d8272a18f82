-- 012: what the tables of four document sets share in one database: their PostgreSQL schemas, the search_path that
-- lets each one's queries run as printed, how a value is refused, and how a machine is guarded whose rows rarely move.
--
-- public holds what GPU servers need and what is shared; hopsworks the users and their clusters; autoscaler the nodes
-- that report in and their pools; clusters the clusters of nodes. Two of them have a table `users`, which is why.
--
-- Our SQLSTATEs, besides those of 010: PF004 a value out of its range, or a word that is no status; PF005 somebody else
-- holds it; PF006 it has to stay; PF007 full; PF008 there is no such thing; PF009 decided under an old epoch;
-- PF010 not fit to lead.

create schema if not exists hopsworks;
create schema if not exists autoscaler;
create schema if not exists clusters;

comment on schema hopsworks is 'users, their Hopsworks clusters and what they owe';
comment on schema autoscaler is 'nodes that report in, their pools and measurements';
comment on schema clusters is 'clusters of nodes: health, leaders, events';

-- For new sessions of this database. Times without a zone (the autoscaler's) are UTC, so sessions are, too.
do $$
begin
  execute format('alter database %I set search_path = public, hopsworks, autoscaler, clusters', current_database());
  execute format('alter database %I set timezone = %L', current_database(), 'UTC');
exception when insufficient_privilege then
  raise warning 'the search_path of database % was not set: % does not own it', current_database(), current_user
    using hint = 'Its owner runs: alter database ... set search_path = public, hopsworks, autoscaler, clusters';
end
$$;

-- Raises PF004; returns boolean only so that it can stand in a CHECK:
--   check (n >= 0 is not false or public.refuse_value('seats', n::text, 'at least 0'))
-- Not immutable: the planner would call it ahead of time where all its arguments are constants.
create or replace function public.refuse_value(what text, value text, allowed text) returns boolean
language plpgsql
as $$
begin
  raise exception '% can''t be %, only %', what, coalesce(value, 'null'), allowed using errcode = 'PF004';
end
$$;

-- The row trigger of machines whose rows are written far more often than they move: it fires for moves only.
-- Same rules and arguments as log_moves (010).
create or replace function public.log_move() returns trigger
language plpgsql
as $$
declare
  machine constant text := tg_argv[0];
  row_id constant text := to_jsonb(new) ->> tg_argv[1];
  before text := '(new)';
  by_worker constant boolean := nullif(current_setting('pgfleet.actor', true), '') is not null;
begin
  if tg_op = 'UPDATE' then
    before := old.status::text;
  end if;
  if not exists (
    select from public.moves m
    where m.machine = tg_argv[0] and m.from_status = before and m.to_status = new.status::text)
  then
    perform public.refuse_move(machine, row_id, before, new.status::text);
  end if;
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
  values (machine, row_id, before, new.status::text, public.move_reason(new.status_reason), public.move_actor(),
    case when by_worker then new.status_msg_id end);
  return null;
end
$$;

-- Keeps status_since true, whoever moves the row.
create or replace function public.note_status_since() returns trigger
language plpgsql
as $$
begin
  new.status_since := public.fleet_now();
  return new;
end
$$;

-- Puts a table under its machine, row by row. Called by the SQL file of the kind, after its moves.
create or replace function public.guard_machine_by_row(guarded regclass, machine text, key_column text) returns void
language plpgsql
as $$
begin
  execute format('drop trigger if exists log_new_row on %s', guarded);
  execute format('drop trigger if exists log_move on %s', guarded);
  execute format('drop trigger if exists note_status_since on %s', guarded);
  execute format(
    'create trigger log_new_row after insert on %s
     for each row execute function public.log_move(%L, %L)', guarded, machine, key_column);
  execute format(
    'create trigger log_move after update of status on %s
     for each row when (old.status is distinct from new.status)
     execute function public.log_move(%L, %L)', guarded, machine, key_column);
  execute format(
    'create trigger note_status_since before update of status on %s
     for each row when (old.status is distinct from new.status)
     execute function public.note_status_since()', guarded);
end
$$;
