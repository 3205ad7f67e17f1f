# SPDX-License-Identifier: Apache-2.0
"""Files for operators: an image, Dataflow, Flink on Kubernetes, Airflow and cron; docs/operations.md explains them."""
