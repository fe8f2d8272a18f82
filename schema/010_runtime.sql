-- 010: what every worker stands on: the clock, the machines with their history, wake-ups,
-- dead letters and periodic work.
--
-- The life of a message, as the database sees it. A producer calls pgmq.send. A statement trigger
-- rings (`ring`), a worker claims the message by pushing its `vt` into the future and raising
-- `read_ct`; (msg_id, read_ct) is from then on its token. The worker settles in one transaction:
-- rows move, `log_moves` checks each move against `moves` and writes `status_history`, follow-ups are
-- inserted, the message is deleted. A message that can't be handled goes to `dead_letters`.
--
-- Our SQLSTATEs: PF001 PGMQ is not installed; PF002 a move that its machine does not list;
-- PF003 GPUs of a type that does not exist; PF409 decided on a view that is no longer true: look at the row again.

-- The only clock of the program. Inlined by the planner, so it costs nothing; tests replace it
-- to move time for every session at once.
create or replace function public.fleet_now() returns timestamptz
language sql stable parallel safe
as 'select statement_timestamp()';

-- Every move that a machine allows; filled by the SQL file of the kind, read by log_moves.
-- A row that did not exist before comes from '(new)'.
create table if not exists public.moves (
  machine text not null,
  from_status text not null,
  to_status text not null,
  happens_when text not null,
  primary key (machine, from_status, to_status)
);

-- Every move that happened; written by log_moves only, in the transaction of the move itself.
-- One row's history is gap-free: each from_status is the to_status before it.
create table if not exists public.status_history (
  history_id bigint generated always as identity,
  machine text not null,
  row_id text not null,
  from_status text not null,
  to_status text not null,
  reason text not null,
  actor text not null,
  msg_id bigint,
  at timestamptz not null default public.fleet_now(),
  primary key (machine, row_id, history_id)
);

-- Raises PF002; returns boolean only so that it can stand in a WHERE.
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

-- Who moves rows in this transaction: the worker that said so, else the person at the prompt.
create or replace function public.move_actor() returns text
language sql stable
as $$ select coalesce(nullif(current_setting('pgfleet.actor', true), ''), session_user || ' (by hand)') $$;

-- Why: a worker writes its reason into the row; a person may `set pgfleet.reason = '...'`.
create or replace function public.move_reason(status_reason text) returns text
language sql stable
as $$
  select case
    when nullif(current_setting('pgfleet.actor', true), '') is not null then coalesce(status_reason, '')
    else coalesce(nullif(current_setting('pgfleet.reason', true), ''), 'by hand')
  end
$$;

-- The statement trigger of every machine: refuses a move that `moves` does not list, and writes history.
-- Arguments: the machine's name, the table's key column. The table has `status`, `status_reason`
-- and `status_msg_id`. One query per statement, so that a batch of moves costs little more than one.
create or replace function public.log_moves() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'INSERT' then
    execute format(
      'insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
       select $1, n.%1$I::text, ''(new)'', n.status::text, public.move_reason(n.status_reason),
         public.move_actor(), n.status_msg_id
       from new_rows n
       left join public.moves m
         on m.machine = $1 and m.from_status = ''(new)'' and m.to_status = n.status::text
       where case when m.machine is null
         then public.refuse_move($1, n.%1$I::text, ''(new)'', n.status::text) else true end',
      tg_argv[1]) using tg_argv[0];
  else
    execute format(
      'insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, msg_id)
       select $1, %1$I::text, o.status::text, n.status::text, public.move_reason(n.status_reason),
         public.move_actor(), case when nullif(current_setting(''pgfleet.actor'', true), '''') is not null
           then n.status_msg_id end
       from old_rows o full join new_rows n using (%1$I)
       left join public.moves m
         on m.machine = $1 and m.from_status = o.status::text and m.to_status = n.status::text
       where o.status is distinct from n.status
         and case when m.machine is null
           then public.refuse_move($1, %1$I::text, o.status::text, n.status::text) else true end',
      tg_argv[1]) using tg_argv[0];
  end if;
  return null;
end
$$;

-- Puts a table under its machine. Called by the SQL file of the kind, after its moves.
create or replace function public.guard_machine(guarded regclass, machine text, key_column text) returns void
language plpgsql
as $$
begin
  execute format('drop trigger if exists log_new_rows on %s', guarded);
  execute format('drop trigger if exists log_moves on %s', guarded);
  execute format(
    'create trigger log_new_rows after insert on %s referencing new table as new_rows
     for each statement execute function public.log_moves(%L, %L)', guarded, machine, key_column);
  execute format(
    'create trigger log_moves after update on %s referencing old table as old_rows new table as new_rows
     for each statement execute function public.log_moves(%L, %L)', guarded, machine, key_column);
end
$$;

-- Wakes the workers of a queue: at most one NOTIFY per commit, and none while another transaction that
-- has already rung is still committing, so that no producer waits for another. What rings unheard this
-- way is found by the safety poll.
create or replace function public.ring() returns trigger
language plpgsql
as $$
begin
  if pg_try_advisory_xact_lock(hashtext('pgfleet.ring'), tg_relid::integer) then
    perform pg_notify(tg_argv[0], '');
  end if;
  return null;
end
$$;

-- Makes a queue ring on the channel of its own name.
create or replace function public.ring_on_send(queue text) returns void
language plpgsql
as $$
begin
  execute format('drop trigger if exists ring on pgmq.%I', 'q_' || queue);
  execute format(
    'create trigger ring after insert on pgmq.%I for each statement execute function public.ring(%L)',
    'q_' || queue, queue);
end
$$;

select public.ring_on_send(queue_name)
from pgmq.meta
where queue_name in ('gpu_reservations', 'disk_operations', 'cluster_assignments', 'node_heartbeats');

-- Messages that could not be handled, whole, with the reason; written by the settler, read and
-- answered with `pgfleet dead`. A replayed or discarded letter stays, with the time and who did it.
create table if not exists public.dead_letters (
  dead_letter_id bigint generated always as identity primary key,
  queue text not null,
  msg_id bigint not null,
  row_id text,
  message jsonb,
  headers jsonb,
  reason text not null,
  attempts integer not null default 0,
  enqueued_at timestamptz not null,
  died_at timestamptz not null default public.fleet_now(),
  answered_at timestamptz,
  answer text check (answer in ('replayed', 'discarded')),
  answered_by text,
  check ((answered_at is null) = (answer is null))
);

create index if not exists dead_letters_open_idx
  on public.dead_letters (queue, dead_letter_id) where answered_at is null;

-- Work that comes back: any idle worker of the queue turns a due row into a message.
create table if not exists public.periodic (
  name text primary key,
  queue text not null,
  message jsonb not null,
  every interval not null check (every > '0'),
  next_at timestamptz not null default public.fleet_now()
);
