"""`pcapdj suspend`: pause feeding, also in the middle of a file."""

from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

app = new_app()


@app.command()
def suspend(redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = "") -> None:
    """Pause feeding within half a second, also in the middle of a file, until `pcapdj resume`."""
    operate.suspend(open_store(redis_url, redis_password_file, lane))
    print_lines("Suspended by the operator, also through restarts; 'pcapdj resume' ends that.")
