"""`pcapdj run`: plan, private service, progress, record, report."""
