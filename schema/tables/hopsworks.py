"""People, Hopsworks clusters, who is on which, and what is wrong with either (013, 018, 021)."""

from pgfleet.schema.tables.described import described

hopsworks_users = described("hopsworks.users")
hopsworks_clusters = described("hopsworks.hopsworks_clusters")
user_hopsworks_assignments = described("hopsworks.user_hopsworks_assignments", shows="detail")
accounts_to_close = described("hopsworks.accounts_to_close")
health_check_failures = described("hopsworks.health_check_failures")
