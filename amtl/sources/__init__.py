"""Where events come from: published data sets, a user's own files, the synthetic sample; all become day partitions."""
