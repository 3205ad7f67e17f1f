"""How the `crossdistil` command begins and ends: errors in one sentence, Ctrl-C at any moment."""

import os
import signal
import sys
from threading import Timer
from types import FrameType
from typing import NoReturn

from tf_crossdistil.errors import CrossDistilError

INTERRUPTED = 130
# How long a command may take to clean up after Ctrl-C.
_GRACE_SECONDS = 10.0


def main() -> None:
    """Runs the command line; exit code 0, 1 for a fault, 2 for wrong use, 130 after Ctrl-C."""
    usual = signal.signal(signal.SIGINT, _interrupt)
    try:
        # Imported here, so that Ctrl-C while modules load ends like any other.
        from tf_crossdistil.cli.app import app

        app()
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as end:
        # What the command line parser makes of a KeyboardInterrupt.
        if end.code == INTERRUPTED:
            _end_interrupted()
        raise
    finally:
        signal.signal(signal.SIGINT, usual)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # A library may swallow the exception where it happens to arrive.
    timer = Timer(_GRACE_SECONDS, _end_interrupted)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _end_interrupted() -> None:
    print("interrupted; later commands will not use what was unfinished", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a pipeline that was running would hold an ordinary exit up.
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
