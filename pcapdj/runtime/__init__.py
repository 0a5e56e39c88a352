"""What every process needs: errors and exit codes, signals, logging, names, amounts."""
