"""An analyzer for machines without one: counts packets, flows and HTTP objects in one capture stream.

`python -P -m pcapdj.summary PIPE LOGDIR` reads one classic capture stream and writes `flows.jsonl`,
`objects.jsonl` and `summary.json`. This file imports nothing, so that the pipe is open before slow imports.
"""
