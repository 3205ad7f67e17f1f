# SPDX-License-Identifier: Apache-2.0
"""Reading logs: every format as blocks of columns."""
