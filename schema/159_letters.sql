-- 159: how dead letters are answered, by operators at the console and by those whom `pgfleet serve` speaks for.
--
-- A letter that is replayed is sent again as it was, unless what failed with it can be brought back: a kind for which that is
-- so has a function `public.revive_<queue>(public.dead_letters)`, which returns what it did, or null where there is nothing
-- to bring back. It raises PF006 where there is, and it can't be.

-- A name as it is typed on a command line: itself, in quotes where it needs them, or `or_else` where it can't be typed. Called
-- by what tells people which command to type.
create or replace function public.typed(name text, or_else text) returns text
language sql immutable
as $$
  select case
    when coalesce(name, '') = '' or name ~ '[[:cntrl:]]' or name like '-%' then or_else
    when name ~ '^[A-Za-z0-9@%_+=:,./-]+$' then name
    else '''' || replace(name, '''', '''"''"''') || ''''
  end
$$;

-- Who asked, of headers that the door (105) has stamped, to be sent along: without it a message would be believed as if an
-- operator had asked. Null where a worker or the owner did. Called by answer_letter.
create or replace function public.stamp_of(headers jsonb) returns jsonb
language sql immutable
as $$
  select case when jsonb_typeof(headers) = 'object' and headers ? 'asked_role' then
    case when headers ->> 'asked_role' in ('USER', 'DEVOPS', 'ADMIN', 'SERVICE', 'NODE') then jsonb_build_object(
      'asked_by', case when jsonb_typeof(headers -> 'asked_by') = 'string' then headers ->> 'asked_by' else '' end,
      'asked_role', headers ->> 'asked_role')
    else '{"asked_by": "", "asked_role": "USER"}' end
  end
$$;

-- Answers a dead letter: 'replayed' gives its message another life, and its row if it failed with it; 'discarded' says that
-- nothing needs to be done. Returns what was done. Whoever comes second finds it answered (PF409); PF008 where there is none,
-- PF006 where what failed with it can't be brought back. `who` is believed of whoever speaks for nobody. Called by
-- schema/replay/letters.py.
create or replace function public.answer_letter(number bigint, says text, who text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  by_whom constant text := coalesce(public.served(), who);
  letter public.dead_letters;
  reviver text;
  done text;
begin
  perform public.must_ask_as('{DEVOPS,ADMIN}');
  if coalesce(says not in ('replayed', 'discarded'), true) then
    perform public.refuse_value('an answer', left(quote_nullable(says), 60), 'replayed or discarded');
  end if;
  select * into letter from public.dead_letters d where d.dead_letter_id = number for update;
  if not found then
    raise exception 'There is no dead letter %.', number using errcode = 'PF008', hint = 'See `pgfleet dead`.';
  elsif letter.answered_at is not null then
    raise exception 'Dead letter % was % already, by % at %.', number, letter.answer, letter.answered_by,
      to_char(letter.answered_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') using errcode = 'PF409';
  end if;
  update public.dead_letters set answered_at = public.fleet_now(), answer = says, answered_by = by_whom
  where dead_letter_id = number;
  if says = 'discarded' then
    return says;
  elsif jsonb_typeof(letter.message) = 'object' and letter.message ? 'too_large_to_show'
    or jsonb_typeof(letter.headers -> 'pgfleet') = 'object' and letter.headers -> 'pgfleet' ? 'cut'
    or public.json_bytes(letter.message) > 1048576
  then
    -- It is a note of what it was about, or can't be loaded by a worker.
    raise exception 'Dead letter % was too large for any worker; sent again, it would be, too.', number
      using errcode = 'PF006', hint = 'Discard it, and have its sender send less.';
  end if;
  reviver := quote_ident('revive_' || letter.queue);
  if to_regprocedure('public.' || reviver || '(public.dead_letters)') is not null then
    -- For the history; whom the API speaks for is known to it.
    if public.served() is null then
      perform set_config('pgfleet.actor', 'console:' || by_whom, true),
        set_config('pgfleet.reason', public.replay_reason(letter), true);
    end if;
    execute format('select public.%s($1)', reviver) into done using letter;
  end if;
  if done is null then
    perform pgmq.send(letter.queue, letter.message, public.stamp_of(letter.headers));
    done := 'sent again to ' || letter.queue;
  end if;
  return done;
end
$$;

revoke execute on function public.answer_letter(bigint, text, text) from public;

-- Why a row that is brought back moves. Called by answer_letter and what brings rows back.
create or replace function public.replay_reason(letter public.dead_letters) returns text
language sql immutable
as $$ select 'replayed from dead letter ' || letter.dead_letter_id $$;
