-- 100: how machines are guarded and their history is written. A kind lists its moves in public.moves and puts its
-- tables under a machine with guard_machine (a batch of moves is seen as a whole), or with guard_machine_by_row.

-- Whether this login owns our tables, or may act as their owner. Called by said.
create or replace function public.is_owner() returns boolean
language sql stable
as $$
  select pg_has_role(session_user, c.relowner, 'member') from pg_class c where c.oid = 'public.schema_migrations'::regclass
$$;

-- What a session says of itself in a setting of ours (`pgfleet.actor`); null where it says nothing, or where it is not
-- believed. Anyone can set a setting, so it counts from workers, and from whoever owns the tables. It is the login that
-- counts (session_user), as functions of ours run as their owner whoever calls them. Simple enough for the planner to
-- inline it: triggers of hot tables ask. Called by whatever signs, audits or takes orders.
create or replace function public.said(setting text) returns text
language sql stable
as $$
  select case when coalesce(current_setting(setting, true), '') <> '' then case
    when coalesce(pg_has_role(session_user, to_regrole('pgfleet_worker')::oid, 'member'), false) or public.is_owner()
      then current_setting(setting, true) end end
$$;

-- Whom `pgfleet serve` speaks for in this transaction (107); null for every other login, whatever it claims. Called by
-- signed_by and move_reason.
create or replace function public.served() returns text
language plpgsql stable
as $$
begin
  if pg_has_role(session_user, to_regrole('pgfleet_serve')::oid, 'member') then
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub';
  end if;
  return null;
end
$$;

-- Who moves rows in this transaction: the worker that named itself, whom the API speaks for, else the person at the prompt.
-- Called by whatever writes a history, and a default of events (150). The one of 010 believes everybody, and is called by
-- nothing.
create or replace function public.signed_by() returns text
language sql stable
as $$ select coalesce(public.said('pgfleet.actor'), public.served(), session_user || ' (by hand)') $$;

-- Why a person moves rows: `set pgfleet.reason = '...'`. It is shown as a person's word where nobody vouches for the
-- login. Called by move_reason and audit_write.
create or replace function public.given_reason() returns text
language sql stable
as $$
  select left(coalesce(
    public.said('pgfleet.reason'), 'by hand: ' || nullif(current_setting('pgfleet.reason', true), '')), 1000)
$$;

-- Raises PF002; returns boolean only so that it can stand in a WHERE. Called by log_moves and log_move.
create or replace function public.refuse_move(machine text, row_id text, from_status text, to_status text)
returns boolean
language plpgsql
as $$
begin
  raise exception '% % may not move from % to %', machine, row_id, from_status, to_status
    using errcode = 'PF002',
      hint = format('The moves that a %s may make: select * from public.moves where machine = %L', machine, machine);
end
$$;

-- Why a row moves: a worker, and a function of the API, writes its reason into the row; a person may `set
-- pgfleet.reason = '...'`. Called by the triggers that write histories.
create or replace function public.move_reason(status_reason text) returns text
language sql stable
as $$
  select case
    when public.said('pgfleet.actor') is not null or public.served() is not null then coalesce(status_reason, '')
    else coalesce(public.given_reason(), 'by hand')
  end
$$;

-- The statement trigger of every machine: refuses a move that `moves` does not list, and writes history. Arguments:
-- the machine's name, the table's key column. The table has `status`, `status_reason` and `status_msg_id`. One query
-- for each statement, so that a batch of moves costs little more than one. Made a trigger by guard_machine. (Before, it was
-- the trigger of new rows, too.)
create or replace function public.log_moves() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
     select $1, %1$I::text, o.status::text, n.status::text, public.move_reason(n.status_reason),
       public.signed_by(), case when public.said(''pgfleet.actor'') is not null
         then n.status_msg_id end
     from old_rows o full join new_rows n using (%1$I)
     left join public.moves m
       on m.machine = $1 and m.from_status = o.status::text and m.to_status = n.status::text
     where o.status is distinct from n.status
       and case when m.machine is null
         then public.refuse_move($1, %1$I::text, o.status::text, n.status::text) else true end',
    tg_argv[1]) using tg_argv[0];
  return null;
end
$$;

revoke execute on function public.log_moves() from public;

-- Whether a table has a trigger of this name that calls this function with these arguments; of `events` such as `insert or
-- delete` where they are given. To make it anew would lock the table until the migration ends. Called by what makes
-- triggers of many tables.
create or replace function public.has_trigger(
  of_table regclass, trigger_name text, calls text, arguments text[] default '{}', events text default null)
returns boolean
language sql stable
as $$
  select exists (
    select from pg_trigger t
    where t.tgrelid = of_table and t.tgname = trigger_name and t.tgfoid = to_regprocedure(calls) and t.tgenabled = 'O'
      and t.tgargs = coalesce((
        select string_agg(convert_to(a.argument, 'UTF8') || '\x00'::bytea, '' order by a.place)
        from unnest(arguments) with ordinality a (argument, place)), '')
      -- What pg_trigger.h calls them.
      and (events is null or t.tgtype & 28 = (
        select sum(e.bit) from (values ('insert', 4), ('delete', 8), ('update', 16)) e (name, bit)
        where e.name = any (regexp_split_to_array(events, '\W+')))))
$$;

-- Puts a table under its machine. Called by the file of the kind, once for each of its tables that has a machine.
--
-- The trigger of new rows has a function of each machine, public.log_new_<machine>, with the rules of log_moves, whose plan is
-- kept: rows come one by one, and to plan it anew each time took a sixth of what a new reservation costs.
create or replace function public.guard_machine(guarded regclass, machine text, key_column text) returns void
language plpgsql
as $make$
declare
  log_new constant text := format('public.%I()', 'log_new_' || machine);
begin
  execute format(
    'create or replace function %s returns trigger
     language plpgsql security definer set search_path = pg_catalog, pg_temp
     as %L', log_new, format($body$
begin
  insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
  select %1$L, n.%2$I::text, '(new)', n.status::text, public.move_reason(n.status_reason), public.signed_by(), n.status_msg_id
  from new_rows n
  left join public.moves m on m.machine = %1$L and m.from_status = '(new)' and m.to_status = n.status::text
  where case when m.machine is null
    then public.refuse_move(%1$L, n.%2$I::text, '(new)', n.status::text) else true end;
  return null;
end
$body$, machine, key_column));
  execute format('revoke execute on function %s from public', log_new);
  if not public.has_trigger(guarded, 'log_new_rows', log_new) then
    execute format(
      'create or replace trigger log_new_rows after insert on %s referencing new table as new_rows
       for each statement execute function %s', guarded, log_new);
  end if;
  if not public.has_trigger(guarded, 'log_moves', 'public.log_moves()', array[machine, key_column]) then
    execute format(
      'create or replace trigger log_moves after update on %s referencing old table as old_rows new table as new_rows
       for each statement execute function public.log_moves(%L, %L)', guarded, machine, key_column);
  end if;
end
$make$;

-- The row trigger of machines whose rows are written far more often than they move: it fires for moves only. Same
-- rules and arguments as log_moves. Made a trigger by guard_machine_by_row.
create or replace function public.log_move() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  machine constant text := tg_argv[0];
  row_id constant text := to_jsonb(new) ->> tg_argv[1];
  before text := '(new)';
  by_worker constant boolean := public.said('pgfleet.actor') is not null;
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
  values (machine, row_id, before, new.status::text, public.move_reason(new.status_reason), public.signed_by(),
    case when by_worker then new.status_msg_id end);
  return null;
end
$$;

revoke execute on function public.log_move() from public;

-- Keeps status_since true, whoever moves the row. A trigger of most tables that have a machine.
create or replace function public.note_status_since() returns trigger
language plpgsql
as $$
begin
  new.status_since := public.fleet_now();
  return new;
end
$$;

-- Puts a table under its machine, row by row. Called by the files of nodes and clusters, whose rows are written far
-- more often than they move.
create or replace function public.guard_machine_by_row(guarded regclass, machine text, key_column text) returns void
language plpgsql
as $$
begin
  if not public.has_trigger(guarded, 'log_new_row', 'public.log_move()', array[machine, key_column]) then
    execute format(
      'create or replace trigger log_new_row after insert on %s
       for each row execute function public.log_move(%L, %L)', guarded, machine, key_column);
  end if;
  if not public.has_trigger(guarded, 'log_move', 'public.log_move()', array[machine, key_column]) then
    execute format(
      'create or replace trigger log_move after update of status on %s
       for each row when (old.status is distinct from new.status)
       execute function public.log_move(%L, %L)', guarded, machine, key_column);
  end if;
  if not public.has_trigger(guarded, 'note_status_since', 'public.note_status_since()') then
    execute format(
      'create or replace trigger note_status_since before update of status on %s
       for each row when (old.status is distinct from new.status)
       execute function public.note_status_since()', guarded);
  end if;
end
$$;
