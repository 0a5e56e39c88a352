"""Which lines of an analyzer's output name the cause of its exit, on the real output of analyzers."""

from support.rows import each_row

from pcapdj.analyzer.exit_cause import cause_in

# suricata --user=nobody, in a log folder of root
SURICATA_WITHOUT_RIGHTS = """\
i: suricata: This is Suricata version 7.0.10 RELEASE running in USER mode
E: logopenfile: Error opening file: "/out/fast.log": Permission denied
W: runmodes: output module "fast": setup failed
W: detect: No rule files match the pattern /var/lib/suricata/rules/suricata.rules
W: detect: 1 rule files specified, but no rules were loaded!
E: pcap: pcap file reader thread failed to initialize
i: threads: Threads created -> RX: 1 W: 2 FM: 1 FR: 1   Engine started.
i: suricata: Signal Received.  Stopping engine.
"""
SURICATA_ON_GARBAGE = """\
i: suricata: This is Suricata version 7.0.10 RELEASE running in USER mode
E: pcap: unknown file format
W: pcap: Failed to init pcap file g, skipping
i: threads: Threads created -> RX: 1 W: 2 FM: 1 FR: 1   Engine started.
i: suricata: Signal Received.  Stopping engine.
"""
SURICATA_WITH_A_WRONG_OPTION = """\
suricata: unrecognized option '--foo'
Suricata 7.0.10
USAGE: suricata [OPTIONS] [BPF FILTER]

\t-c <path>                            : path to configuration file
\t--init-errors-fatal                  : enable fatal failure on signature init error
\t--disable-detection                  : disable detection engine
"""
TCPDUMP_WITH_A_WRONG_OPTION = """\
tcpdump: unrecognized option '--foo'
tcpdump version 4.99.3
libpcap version 1.10.3 (with TPACKET_V3)
Usage: tcpdump [-AbdDefhHIJKlLnNOpqStuUvxX#] [ -B size ] [ -c count ] [--count]
"""
TCPDUMP_ON_A_TORN_RECORD = """\
reading from file /run/stream.pcap, link-type EN10MB (Ethernet), snapshot length 262144
tcpdump: pcap_loop: truncated dump file; tried to read 100 captured bytes, only got 5
"""
TSHARK_WITH_A_WRONG_STATISTIC = """\
Running as user "root" and group "root". This could be dangerous.
tshark: Invalid -z argument "foo"; it must be one of:
     afp,srt
     zbee_zcl,tree
"""
TSHARK_ON_GARBAGE = """\
Running as user "root" and group "root". This could be dangerous.
tshark: The file "g" isn't a capture file in a format TShark understands.
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "/tools/mine.py", line 3, in <module>
    raise ValueError("no such table")
ValueError: no such table
"""


@each_row(
    ("program", "output", "cause"),
    [
        (
            "suricata",
            SURICATA_WITHOUT_RIGHTS,
            (
                'E: logopenfile: Error opening file: "/out/fast.log": Permission denied'
                " .. E: pcap: pcap file reader thread failed to initialize"
            ),
        ),
        ("suricata", SURICATA_ON_GARBAGE, "E: pcap: unknown file format"),
        ("suricata", SURICATA_WITH_A_WRONG_OPTION, "suricata: unrecognized option '--foo'"),
        ("tcpdump", TCPDUMP_WITH_A_WRONG_OPTION, "tcpdump: unrecognized option '--foo'"),
        (
            "tcpdump",
            TCPDUMP_ON_A_TORN_RECORD,
            "tcpdump: pcap_loop: truncated dump file; tried to read 100 captured bytes, only got 5",
        ),
        (
            "tshark",
            TSHARK_WITH_A_WRONG_STATISTIC,
            'tshark: Invalid -z argument "foo"; it must be one of:',
        ),
        (
            "tshark",
            TSHARK_ON_GARBAGE,
            'tshark: The file "g" isn\'t a capture file in a format TShark understands.',
        ),
        ("python3", TRACEBACK, "ValueError: no such table"),
    ],
)
def test_the_cause_is_found_wherever_it_is_printed(program: str, output: str, cause: str) -> None:
    """It is the second line, the first one or the last one."""
    assert cause_in(output.split("\n"), program) == cause


@each_row(
    "line",
    [
        "[4711 - Suricata-Main] 2026-11-26 07:33:00 Error: suricata: pcap file 'x': No such file",
        "26/11/2026 -- 07:33:00 - <Error> - [ERRCODE: SC_ERR_FOPEN(44)] - failed to open suricata.yaml",
        "fatal error: problem with trace file /run/stream.pcap (unknown file format)",
        "error in /opt/zeek/share/zeek/site/local.zeek, line 3: unknown identifier",
        "thread 'main' panicked at src/main.rs:3:5",
        "sh: 1: suricatta: not found",
    ],
)
def test_an_error_of_another_form_is_found_before_the_last_line(line: str) -> None:
    """Older versions, other log levels, Zeek, Rust and the shell."""
    assert cause_in([line, "Stopping."], "analyzer") == line


def test_a_warning_is_no_cause_whatever_words_it_has() -> None:
    """A harmless failure at the start does not hide the last line."""
    output = [
        "W: detect: Failed to load 1 rule",
        "26/11/2026 -- 07:33:00 - <Warning> - cannot do x",
        "Killed",
    ]

    assert cause_in(output, "suricata") == "Killed"


def test_without_an_error_the_last_line_is_shown() -> None:
    """Blank lines do not count."""
    assert cause_in(["one", "no room", "  ", ""], "x") == "no room"
    assert cause_in(["", ""], "x") == ""


def test_a_very_long_line_is_cut() -> None:
    """The reason is shown on one screen and kept in Redis."""
    assert cause_in(["Error: " + "x" * 5000], "x") == "Error: " + "x" * 293
