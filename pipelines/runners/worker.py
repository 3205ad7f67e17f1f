# SPDX-License-Identifier: Apache-2.0
"""A worker process of the local runner: Beam's own, but silent, since all that fails in it is raised in the launcher.

Its argument is the process id of the launcher, with which it ends, however that ends.
"""

import logging
import os
import sys
import threading
import time

_SECONDS_BETWEEN_LOOKS = 0.1


def end_with(launcher: int) -> None:
    """Ends this process at once when `launcher` is no longer its parent."""
    while os.getppid() == launcher:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv[1]),), daemon=True).start()
    logging.disable(logging.ERROR)
    # Imported here, since it logs while it is.
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
    # All results are with the launcher, which waits for one worker after another: it need not wait for tidying up.
    os._exit(0)
