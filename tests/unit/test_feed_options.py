"""The dispatcher's options: which Redis the original's `-s` and `-p` name."""

from support.rows import each_row

from pcapdj.feed.options import url_of


@each_row(
    ("server", "port", "url", "chosen"),
    [
        ("", 0, "", ""),
        ("", 0, "unix:///r.sock", "unix:///r.sock"),
        ("", 7000, "", "redis://127.0.0.1:7000/0"),
        ("sensor", 0, "unix:///r.sock", "redis://sensor:6379/0"),
        ("sensor", 7000, "unix:///r.sock", "redis://sensor:7000/0"),
    ],
)
def test_the_originals_options_come_before_the_url(server: str, port: int, url: str, chosen: str) -> None:
    """One of the two is enough: the other is this machine, or Redis's own port."""
    assert url_of(server, port, url) == chosen
