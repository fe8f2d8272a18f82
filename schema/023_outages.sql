-- 023: outages of what is outside: a Kubernetes API, the server of SSH keys, AWS by service, a Hopsworks cluster.
--
--   a call is not answered -> the worker asks about nobody -> that is not answered either -> an outage begins
--   -> nobody calls but the probe, and rows that would have to call wait -> the probe is answered -> the outage ends,
--      and all that waited for it goes on
--
-- An outage that has not ended is an open breaker, for all workers. What has ended is kept for a while: time in which an
-- outage kept a row waiting counts in none of the row's limits.

create table if not exists public.outages (
  outage_id bigint generated always as identity primary key,
  -- kubernetes, ssh_keys, aws.ec2, aws.s3, hopsworks:<id of the cluster>
  dependency text not null check (dependency <> ''),
  -- Which calls are not answered: what can't be made may still be read and deleted. `read` stands for all of them.
  calls text not null check (
    calls in ('read', 'make', 'delete') or public.refuse_value('an outage''s calls', calls, 'one of read, make, delete')),
  -- Whose workers call it, and whose messages wait for it.
  queue text not null,
  -- What waiting rows show: KUBERNETES_UNREACHABLE, say; and what was answered, if anything.
  code text not null,
  reason text not null,
  began_at timestamptz not null default public.fleet_now(),
  -- Nobody calls before; then one worker does.
  retry_at timestamptz not null,
  -- Probes that were not answered.
  probes integer not null default 0,
  ended_at timestamptz
);

create unique index if not exists outages_open_idx on public.outages (dependency, calls) where ended_at is null;
create index if not exists outages_ended_idx on public.outages (ended_at) where ended_at is not null;

insert into public.retention (table_name, time_column, keep, by_day, only_where)
values ('public.outages', 'ended_at', '30 days', false, 'ended_at is not null')
on conflict (table_name) do nothing;
