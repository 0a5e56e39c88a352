"""Capture files: formats, the walk over records, conversion, opening.

Rules: `formats`, `no_magic`, `first_records`, `pcap`, `walk`, `convert`, `linktypes`, `packet_blocks`,
`stream_options`, `timestamps`, `anomalies`. With effects: `files`, `reading_process`, `reader`, `decompress`,
`classic`, `pcapng`, `opening`, `capture`, `prefetch`, `compiled` and `concatenate`.
Start reading at `opening.open_capture`.

Classes that `pcapdj cat` imports for every file are named tuples, all others frozen dataclasses: making a
dataclass takes 0.8 ms and imports `inspect`, making a named tuple takes 0.14 ms. Together that was 20 ms of
60 ms to start. `decompress`, `pcapng`, `packet_blocks` and `prefetch` are imported only when needed.
"""
