"""The analyzer for machines without one: packets, flows and HTTP objects out of one capture stream.

`python -m pcapdj.summary PIPE LOGDIR` reads one classic capture stream and writes `flows.jsonl`,
`objects.jsonl` and `summary.json`. This file imports nothing: the pipe must be open before anything slow.
"""
