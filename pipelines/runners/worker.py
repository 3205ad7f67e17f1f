"""A worker process of the local runner: Beam's own, but silent, since all that fails in it is raised in the launcher."""

import logging
import sys

if __name__ == "__main__":
    logging.disable(logging.ERROR)
    # Imported here, since it logs while it is.
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
