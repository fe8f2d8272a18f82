-- 105: the door of each queue. Whoever is no member of pgfleet_worker, and not the owner, is a stranger, and may do no
-- more with a queue than send what its kind publishes: the action is one of those, the sizes and times have bounds, and
-- what the sender wrote where only we write is dropped. Who asks is stamped into the headers:
--
--   who sends                       asked_by                          asked_role
--   a member of pgfleet_api         the principal that it has proven  the principal's: USER, DEVOPS, ADMIN, NODE
--   a member of pgfleet_sender      whom it names, in that header     SERVICE
--                                   or as `user_id`
--   a member of pgfleet_node        the node of that login (148)      NODE
--   anybody else                    the login                         USER
--
-- A message without a stamp is a worker's or the owner's. What a stamp allows is in schema/asking.py; workers hold to it.
-- The body is never altered. Errors are PF011, so that a sender can tell them from its own.
--
-- A stranger's session has a search_path of its own: everything is named in full, or the function sets it.

-- Counts what the login sends to a queue, by its table; when the message that it sends now is due. Two hundred at once are
-- due at once, and on average 20 a second; every 4 KiB of a message count as one more, as what is stored grows with it.
-- Called by the door.
--
-- A message is counted in the transaction that sends it, and ahead of others of the same transaction: 1, 2, 4, 8, and then
-- 16 at a time, as each count changes a row. Whoever takes a count back (rollback to savepoint) has sent so much the more
-- when the next one is counted: what PostgreSQL counts of a transaction's inserts is not taken back.
create or replace function public.count_send(queue oid, bytes integer) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  apart constant interval := '50 ms';
  at_once constant integer := 200;
  now_is constant timestamptz := public.fleet_now();
  sent constant bigint := pg_stat_get_xact_tuples_inserted(queue) + 1;
  -- Whoever calls it says nothing that counts for less.
  large constant integer := greatest(bytes, 0) / 4096;
  owed interval;
  last_to bigint;
  last_count integer;
  counted integer := 1;
  ahead integer := 1;
  lanes uuid[];
  owed_there interval;
begin
  select coalesce(sum(next_at - now_is) filter (where next_at > now_is), '0'),
    max(counted_to) filter (where is_this), max(last_counted) filter (where is_this)
  into owed, last_to, last_count
  from (
    select *, counted_in = pg_current_xact_id() and counted_queue = queue as is_this
    from public.senders where login = session_user) s;
  if sent > coalesce(last_to, 0) or large > 0 then
    if sent <= last_to then
      counted := 0;
      ahead := last_count;
    elsif last_to is not null then
      ahead := least(2 * last_count, 16);
      counted := sent - last_to + ahead - 1;
    end if;
    last_to := greatest(last_to, sent + case when counted > 0 then ahead - 1 else 0 end);
    counted := counted + large;
    -- One row takes over what the others say, but for those of transactions that are sending now.
    select array_agg(lane order by next_at desc), sum(greatest(next_at - now_is, '0')) into lanes, owed_there
    from (select lane, next_at from public.senders where login = session_user for update skip locked) s;
    if lanes is null then
      insert into public.senders (login, next_at, counted_in, counted_queue, counted_to, last_counted)
      values (session_user, now_is + counted * apart, pg_current_xact_id(), queue, last_to, ahead);
    else
      update public.senders
      set next_at = now_is + owed_there + counted * apart, counted_in = pg_current_xact_id(), counted_queue = queue,
        counted_to = last_to, last_counted = ahead
      where login = session_user and lane = lanes[1];
      if cardinality(lanes) > 1 then
        delete from public.senders where login = session_user and lane = any (lanes[2:]);
      end if;
    end if;
  end if;
  return greatest(now_is, now_is + owed - at_once * apart);
end
$$;

-- Lets a stranger's message in, or says why not. Its arguments are the actions that the kind publishes; of a queue of
-- replies there are none. Made a trigger by close_door.
create or replace function public.door() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  now_is constant timestamptz := public.fleet_now();
  claims jsonb;
  who text := current_user;
  as_role text := 'USER';
  due timestamptz := now_is;
begin
  if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'member') then
    return new;
  end if;
  -- What is stored compressed is smaller than what a worker would load.
  if pg_column_size(new.message) > 262144 or octet_length(new.message::text) > 262144 then
    raise exception 'a message is at most 256 KiB of JSON' using errcode = 'PF011';
  end if;
  if jsonb_typeof(new.message) is distinct from 'object'
    or not coalesce(coalesce(new.message ->> 'action', new.message ->> 'type') = any (tg_argv), false)
  then
    raise exception 'action: % is not what is sent to %',
        coalesce(left(quote_literal(new.message ->> 'action'), 60), 'nothing'), substr(tg_table_name, 3)
      using errcode = 'PF011', hint = case when tg_nargs = 0 then 'Only workers send to it.'
        else 'It is one of: ' || array_to_string(tg_argv, ', ') || '.' end;
  end if;
  new.headers := coalesce(nullif(new.headers, 'null'), '{}');
  if pg_column_size(new.headers) > 8192 or octet_length(new.headers::text) > 8192
    or jsonb_typeof(new.headers) <> 'object'
  then
    raise exception 'headers are an object of at most 8 KiB of JSON' using errcode = 'PF011';
  end if;
  if not isfinite(new.vt) then
    raise exception 'a message is due at a time, not at %', new.vt using errcode = 'PF011';
  end if;

  if pg_has_role(current_user, to_regrole('pgfleet_sender'), 'member') then
    who := left(coalesce(new.headers ->> 'asked_by', new.message ->> 'user_id', who), 255);
    as_role := 'SERVICE';
  elsif pg_has_role(current_user, to_regrole('pgfleet_api'), 'member') then
    claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    who := coalesce(claims ->> 'sub', who);
    as_role := case when claims ->> 'pgfleet_role' in ('DEVOPS', 'ADMIN', 'NODE') then claims ->> 'pgfleet_role'
      else 'USER' end;
  else
    if pg_has_role(current_user, to_regrole('pgfleet_node'), 'member') then
      as_role := 'NODE';
      who := public.node_of(current_user);
      if who is null then
        raise exception '% speaks for no node', current_user
          using errcode = 'PF011', hint = 'An operator lets it: pgfleet nodes let NODE LOGIN.';
      end if;
    end if;
    due := public.count_send(tg_relid, pg_column_size(new.message));
    if due > now_is + interval '1 day' then
      raise exception '% has sent more than is done in a day', current_user
        using errcode = 'PF011', hint = 'Send more when what waits is done: 20 messages a second, of 4 KiB each.';
    end if;
  end if;
  new.headers := new.headers - 'pgfleet' || jsonb_build_object('asked_by', who, 'asked_role', as_role);

  new.msg_id := nextval(('pgmq.' || quote_ident(tg_table_name || '_msg_id_seq'))::regclass);
  new.read_ct := 0;
  new.enqueued_at := now_is;
  new.last_read_at := null;
  -- Not before what others send now, and not for ever; and what is too much is late by so much, whenever it is due.
  new.vt := least(greatest(new.vt, now_is), now_is + interval '14 days') + (due - now_is);
  return new;
end
$$;

-- Refuses a stranger who would take messages, alter or delete them. Made a trigger by close_door.
create or replace function public.keep_out() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'member') then
    raise exception 'only workers take messages from %, alter or delete them', substr(tg_table_name, 3)
      using errcode = 'PF011', hint = 'Who only sends calls pgmq.send.';
  end if;
  return null;
end
$$;

-- Puts the door on a queue, with the actions that strangers may send; what is as it should be is not touched. Of a
-- kind's queue strangers don't take messages, either: of their own queues nodes do. Called by create_queue and
-- create_fleet_queue.
create or replace function public.close_door(queue text, published text[], of_kind boolean) returns void
language plpgsql
as $$
declare
  queue_table constant regclass := format('pgmq.%I', 'q_' || queue);
  stranger constant text :=
    'pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole(''pgfleet_worker''), ''member'') is not true';
  opens constant text := format('door(%s)',
    (select string_agg(quote_literal(action), ', ') from unnest(published) action));
  -- Times that a driver can't load would stop whoever claims them.
  loadable constant text :=
    'vt > ''2000-01-01Z'' and vt < ''9999-01-01Z'' and enqueued_at > ''2000-01-01Z'' and enqueued_at < ''9999-01-01Z''
     and (last_read_at is null or last_read_at > ''2000-01-01Z'' and last_read_at < ''9999-01-01Z'')';
begin
  if not exists (
    select from pg_trigger
    where tgrelid = queue_table and tgname = 'door' and right(pg_get_triggerdef(oid), length(opens)) = opens)
  then
    execute format('drop trigger if exists door on %s', queue_table);
    execute format('create trigger door before insert on %s for each row when (%s) execute function public.%s',
      queue_table, stranger, opens);
  end if;
  if of_kind and not exists (select from pg_trigger where tgrelid = queue_table and tgname = 'keep_out') then
    execute format(
      'create trigger keep_out before update or delete or truncate on %s for each statement when (%s)
       execute function public.keep_out()', queue_table, stranger);
  end if;
  if not exists (select from pg_constraint where conrelid = queue_table and conname = 'times_have_an_end') then
    execute format(
      'update %s set vt = public.fleet_now(), enqueued_at = public.fleet_now(), last_read_at = null where not (%s)',
      queue_table, loadable);
    execute format('alter table %s add constraint times_have_an_end check (%s)', queue_table, loadable);
  end if;
end
$$;

-- The queues of before, as create_queue makes them now.
select public.create_queue(substr(tablename, 3)) from pg_indexes
where schemaname = 'pgmq' and indexname = tablename || '_claim_idx' and (
  indexdef not like '%(msg_id + 0)%' or not exists (
    select from pg_trigger where tgrelid = format('pgmq.%I', tablename)::regclass and tgname = 'door'));
