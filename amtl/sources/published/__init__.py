"""Published data sets in their official layouts, each by a reader of its own."""
