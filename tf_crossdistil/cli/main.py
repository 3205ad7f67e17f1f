"""How the `crossdistil` command begins and ends: errors in one sentence, Ctrl-C and SIGTERM at any moment."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from tf_crossdistil.cli.ending import end_process, raise_or_end
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.training.interruption import INTERRUPTED, TERMINATED, Terminated

_SENTENCE = "interrupted; later commands will not use what was unfinished"


def main() -> None:
    """Runs the command line; exit code 0, 1 for a fault, 2 for wrong use, 130 after Ctrl-C, 143 after SIGTERM."""
    usual = signal.signal(signal.SIGINT, _interrupt)
    try:
        # Imported here, so that Ctrl-C while modules load ends like any other.
        from tf_crossdistil.cli.app import app

        app()
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Terminated as end:
        end_process(TERMINATED, end.sentence)
    except KeyboardInterrupt:
        end_process(INTERRUPTED, _SENTENCE)
    except SystemExit as end:
        # What the command line parser makes of a KeyboardInterrupt.
        if end.code == INTERRUPTED:
            end_process(INTERRUPTED, _SENTENCE)
        raise
    finally:
        signal.signal(signal.SIGINT, usual)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise_or_end(KeyboardInterrupt(), INTERRUPTED, _SENTENCE)


if __name__ == "__main__":
    main()
