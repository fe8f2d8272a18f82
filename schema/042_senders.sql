-- 042: how much each login has sent of late. The door (105) writes it for logins that are nobody's service: what they
-- send beyond a steady rate is due later, so that a flood of theirs keeps nobody else's messages waiting.

-- A login has one row for each of its transactions that send at once: no sender waits for another. The transaction that
-- wrote it last says which of the messages that it sends to a queue are counted (count_send).
create table if not exists public.senders (
  login name not null,
  lane uuid not null default gen_random_uuid(),
  -- When the next message would be due, were none sent in advance.
  next_at timestamptz not null,
  counted_in xid8,
  counted_queue oid,
  -- How many of the transaction's messages are counted, and how many the last count was for.
  counted_to bigint,
  last_counted integer,
  primary key (login, lane)
);

insert into public.retention (table_name, time_column, keep, by_day, only_where)
values ('public.senders', 'next_at', '1 day', false, null)
on conflict (table_name) do nothing;
