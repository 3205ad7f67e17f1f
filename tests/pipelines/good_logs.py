# SPDX-License-Identifier: Apache-2.0
"""Logs without a fault, for tests that spoil them."""

GOOD = "user,finish,like\n" + "".join(f"u{row % 40},{row % 2},{row % 3 == 0:d}\n" for row in range(200))
