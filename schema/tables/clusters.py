"""Clusters of nodes: health, leaders, events (016)."""

from pgfleet.schema.tables.described import described

clusters = described("clusters.clusters")
cluster_nodes = described("clusters.cluster_nodes")
cluster_events = described("clusters.cluster_events")
cluster_metrics = described("clusters.cluster_metrics")
