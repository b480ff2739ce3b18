"""Is a dataset fit to train on? Facts of every clip, checks on them (Great Expectations), and the report."""
