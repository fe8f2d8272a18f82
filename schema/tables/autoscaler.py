"""Nodes that report in, their pools and configurations (015)."""

from pgfleet.schema.tables.described import described

nodes = described("autoscaler.nodes")
pools = described("autoscaler.pools")
audit_logs = described("autoscaler.audit_logs")
node_configurations = described("autoscaler.node_configurations")
