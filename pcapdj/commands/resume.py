"""`pcapdj resume`: end the operator's suspension, and show who else suspends."""

from pcapdj.console.screen import print_lines
from pcapdj.console.waiting_lines import GATE, SIGUSR1, suspenders_text
from pcapdj.runtime.command import new_app
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

app = new_app()


@app.command()
def resume(redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = "") -> None:
    """End the suspension by `pcapdj suspend`; the gate and SIGUSR1 may still suspend feeding."""
    removed, others = operate.resume(open_store(redis_url, redis_password_file, lane))
    ended = "The operator's suspension has ended." if others else "Resumed."
    print_lines(ended if removed else "The operator had not suspended feeding.")
    if others:
        print_lines(f"Still suspended by {suspenders_text(others, {})}.{_hints(others)}")


def _hints(members: list[str]) -> str:
    hints = []
    if GATE in members:
        hints.append(" The gate resumes when the disk has room, or after 'pcapdj gate open'.")
    if any(member.startswith(SIGUSR1) for member in members):
        hints.append(" SIGUSR1 to the same dispatcher ends its suspension.")
    return "".join(hints)
