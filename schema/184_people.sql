-- 184: what a person's own login needs beside its own rows (161).

-- Sent as the owner, and so past the door: any action, headers and size.
-- squawk-ignore ban-drop-function
drop function if exists public.send_request(text, jsonb, jsonb), public.send_own(text, jsonb, jsonb);
