"""What users have used and what it costs (014, 021)."""

from pgfleet.schema.tables.described import described

billing_rates = described("hopsworks.billing_rates")
usage_daily = described("hopsworks.usage_daily")
usage_samples = described("hopsworks.usage_samples")
billed_days = described("hopsworks.billed_days")
user_credits = described("hopsworks.user_credits")
billing_history = described("hopsworks.billing_history")
