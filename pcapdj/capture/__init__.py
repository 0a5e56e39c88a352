"""What a capture file is: formats, record walk, conversion, opening.

Rules (`formats`, `linktypes`, `totals`, `pcap`, `convert`, `pcapng`, `pseudo_headers`, `ethernet`) are pure;
`files`, `unpacking`, `sources`, `reading`, `opening` and `concatenate` act. Start at `opening.open_capture`.

Values of what `pcapdj cat` always imports are named tuples, elsewhere frozen dataclasses: to make a class of
the latter takes 0.8 ms, of the former 0.14 ms, and `dataclasses` brings `inspect`. Together that was 20 ms of
the 60 that it needed to start.
"""
