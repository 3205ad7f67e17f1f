# SPDX-License-Identifier: Apache-2.0
"""A small server with TF Serving's API, for development and tests on machines without Docker."""
