-- Records each change of the small kind's queue and of its dead letters, in the order in which rows are changed: who
-- changes one holds its lock, so the numbers of one message are in the order of its changes.
create table public.recorded (
  recorded_id bigint generated always as identity,
  xact_id xid8 not null default pg_current_xact_id(),
  who text not null default session_user,
  msg_id bigint not null,
  op text not null,
  due boolean,
  before jsonb,
  after jsonb
);

create function public.record() returns trigger
language plpgsql security definer
as $$
declare
  msg_id constant bigint := coalesce(new.msg_id, old.msg_id);
begin
  insert into public.recorded (msg_id, op, due, before, after)
  values (msg_id, lower(tg_op), old.vt <= clock_timestamp(), to_jsonb(old), to_jsonb(new));
  return null;
end
$$;
create trigger record after insert or update or delete on pgmq.q_small_jobs
  for each row execute function public.record();

create function public.record_letter() returns trigger
language plpgsql security definer
as $$
begin
  insert into public.recorded (msg_id, op) values (new.msg_id, 'letter');
  return null;
end
$$;
create trigger record after insert on public.dead_letters for each row execute function public.record_letter();
