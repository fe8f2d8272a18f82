-- Who has claimed which message, and whether whoever had it before was killed with it in hand.
-- `due` is since when it was, on the clock on the wall.
create table public.storm_claims (queue text, msg_id bigint, read_ct integer, who text, at timestamptz,
  unanswered boolean, due timestamptz);
create table public.storm_kills (who text primary key, kind text, at timestamptz);
create function public.note_claim() returns trigger language plpgsql security definer as $$
begin
  insert into public.storm_claims values (tg_argv[0], new.msg_id, new.read_ct, current_setting('application_name'),
    clock_timestamp(), old.headers #> '{pgfleet,claim}' is not null,
    clock_timestamp() - (public.fleet_now() - old.vt));
  return null;
end
$$;
do $$
declare
  queue text;
begin
  for queue in select queue_name from public.fleet_queues loop
    execute format('create trigger note_claim after update on pgmq.%I for each row
      when (new.read_ct > old.read_ct) execute function public.note_claim(%L)', 'q_' || queue, queue);
  end loop;
end
$$;
create index on public.storm_claims (who);
create index on public.storm_claims (queue, msg_id, read_ct);
