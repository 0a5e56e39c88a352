"""`pcapdj suspend`: pause the feeding, in the middle of a file if need be."""

import typer

from pcapdj.runtime.command import new_app
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

app = new_app()


@app.command()
def suspend(redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = "") -> None:
    """Pause the feeding within half a second; the analyzer waits. It stays so through restarts."""
    operate.suspend(open_store(redis_url, redis_password_file, lane, is_role=False))
    typer.echo("Suspended by the operator; 'pcapdj resume' goes on.")
