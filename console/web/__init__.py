"""The dashboard: pages that `pgfleet serve` shows beside the HTTP API; README.md says how one is added."""
