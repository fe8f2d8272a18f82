"""Clusters of Hopsworks, and who has a seat on which."""
