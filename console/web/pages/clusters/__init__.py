"""Clusters of nodes: all of them by their health, and one."""
