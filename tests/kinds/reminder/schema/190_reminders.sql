-- 190: the queue and the machine of reminders, and those that are forgotten.

select public.create_fleet_queue('reminders', array[
  'remind']);
select public.guard_machine('public.reminders', 'reminder', 'reminder_id');

create or replace trigger note_status_since before update of status on public.reminders
  for each row when (old.status is distinct from new.status)
  execute function public.note_status_since();

-- A reminder that waits, without its ticket: the sweep sends it again, and `pgfleet doctor` tells of it.
create or replace view public.forgotten_reminder as
select r.reminder_id::text as row_id, r.ticket::bigint as ticket, r.status_since as since,
  r.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
from public.reminders r
left join public.periodic p on p.name = 'reminder.sweep'
where r.status = 'waiting' and r.status_since < public.fleet_now() - interval '10 seconds'
  and not exists (
    select from pgmq.q_reminders q
    where q.message ->> 'reminder_id' = r.reminder_id::text and q.message ->> 'ticket' = r.ticket::text);

-- What the worker of this kind reads and writes, and who sends to it (163).
create or replace view public.rights_of_reminder (who, thing, may) as values
  ('worker', 'pgmq.q_reminders', 'work'),
  ('user', 'pgmq.q_reminders', 'send'),
  ('sender', 'pgmq.q_reminders', 'send'),
  ('worker', 'public.reminders', 'select, insert, update'),
  ('worker', 'public.forgotten_reminder', 'select');
