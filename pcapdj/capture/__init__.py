"""What a capture file is: formats, record walk, conversion, opening.

Rules (`formats`, `linktypes`, `totals`, `pcap`, `convert`, `pcapng`, `pseudo_headers`) are pure; `files`,
`unpacking`, `sources`, `reading`, `opening` and `concatenate` act. Start at `opening.open_capture`.
"""
