"""Reservations of GPUs (002, 008), their pods as they were seen, pods that none accounts for (024), and logs (049)."""

from pgfleet.schema.tables.described import described

reservations = described("public.reservations", shows="current_detailed_status")
gpu_pods = described("public.gpu_pods")
pod_quarantine = described("public.pod_quarantine")
pod_events = described("public.pod_events")
log_requests = described("public.log_requests")
