"""What people look at: status, statistics, progress."""
