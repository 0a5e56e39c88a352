"""`pcapdj init`: a folder for the service, ready for supervisord."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcapdj.analyzer.presets import PRESETS
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import printable_sentence, quoted
from pcapdj.service import CONF, configuration, lay_out

app = new_app()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="made if missing; one per sensor", metavar="DIR")],
    *,
    preset: Annotated[
        str,
        typer.Option(
            envvar="PCAPDJ_PRESET",
            help="the analyzer; default: suricata-extract where Suricata is installed, else summary",
            show_default=False,
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help=f"replace a {CONF} that is there")] = False,
) -> None:
    """Lay out DIR: supervisord.conf, inbox (captures go there), out (results), var (sockets, logs, queue)."""
    chosen = preset or ("suricata-extract" if shutil.which("suricata") else "summary")
    if chosen not in PRESETS:
        raise ConfigError(f"There is no preset {quoted(chosen)}.", hint=f"Known are {', '.join(PRESETS)}.")
    interpreter = Path(sys.executable)
    lay_out(folder, configuration(interpreter=interpreter, preset=chosen), force=force)
    for line in _next_steps(folder.absolute(), chosen, interpreter.parent, is_asked=bool(preset)):
        typer.echo(line)


def _next_steps(folder: Path, preset: str, programs: Path, *, is_asked: bool) -> list[str]:
    """Return what to tell the operator; commands can be pasted into a shell."""
    supervisord, supervisorctl, pcapdj = (
        shlex.quote(str(programs / name)) if (programs / name).exists() else name
        for name in ("supervisord", "supervisorctl", "pcapdj")
    )
    why = (
        ""
        if preset != "summary"
        else f" (our own small one{'' if is_asked else '; Suricata is not installed'})"
    )
    lines = [
        f"{folder} is laid out; its analyzer preset is {preset}{why}. Next:",
        f"  cd {shlex.quote(str(folder))}",
        f"  {supervisord} -c {CONF}",
        f"  {supervisorctl} -c {CONF} status",
        "  mv CAPTURES.. inbox/",
        f"  {pcapdj} status --watch",
    ]
    return [printable_sentence(line) for line in lines]
