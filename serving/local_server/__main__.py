# SPDX-License-Identifier: Apache-2.0
"""`python -m serving.local_server`."""

import sys

from serving.local_server.server import main

sys.exit(main())
