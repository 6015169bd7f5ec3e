"""Raw events to batches: schema and scan, profile and verdict, vocabulary, counts, batches."""
