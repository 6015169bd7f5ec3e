"""Whether a day may be used: profiled by polars, judged by Great Expectations, documented; bad rows set aside, bad days stopped."""
