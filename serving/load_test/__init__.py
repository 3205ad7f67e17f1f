# SPDX-License-Identifier: Apache-2.0
"""How much a server bears: closed-loop requests at rising concurrency, their latency, throughput and errors."""
