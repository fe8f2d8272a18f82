-- Rows that are placed with their message (168): each statement inserts the rows and sends the message, in the caller's
-- transaction, and says whether they are new.

-- name: gpus_of_a_node
-- How many GPUs a node of a type has, as far as that is known.
select t.max_per_node, t.max_gpus from public.gpu_types t where t.gpu_type = :gpu_type::text;

-- name: place_reservation
-- A reservation, or all nodes of a gang.
select public.place_reservation(:message::jsonb, :nodes::jsonb, :headers::jsonb) as is_new;

-- name: place_disk_operation
-- What is asked of a disk.
select public.place_disk_operation(:message::jsonb, :headers::jsonb) as is_new;
