# SPDX-License-Identifier: Apache-2.0
"""Serving: the client library, TF Serving's deployment files, and a small local server with the same API."""
