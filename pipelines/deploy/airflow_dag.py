# SPDX-License-Identifier: Apache-2.0
"""Airflow: every day the logs of the day before, with the vocabularies of the full build that is made every Sunday.

Not scheduled where it was written: imported once with Airflow 2.10, and by a test with a stand-in where Airflow is missing.
The machine that runs the tasks has this package installed (`pip install '.[gcp]'` in a clone).
"""

from datetime import datetime, timedelta

from airflow import DAG  # type: ignore[import-not-found]
from airflow.operators.bash import BashOperator  # type: ignore[import-not-found]

CONFIG = "/srv/crossdistil/configs/demo.yaml"
LOGS = "gs://example-logs"
FULL = "gs://example-prepared/full"
DAILY = "gs://example-prepared/daily"
PREPROCESS = f"python -m pipelines.preprocess {CONFIG} --direct_running_mode=multi_processing --direct_num_workers=4"

# A failure that a second try mends is one of storage or network; reruns of a complete run do nothing.
TASKS = {"retries": 2, "retry_delay": timedelta(minutes=10), "execution_timeout": timedelta(hours=4)}
START = datetime(2026, 1, 1)

# One writer for every output: cloud storage has no locks, so runs of one DAG take turns and no two DAGs share an output.
with DAG(
    "crossdistil_daily", schedule="30 2 * * *", start_date=START, catchup=False, max_active_runs=1, default_args=TASKS
) as daily:
    BashOperator(
        task_id="prepare",
        bash_command=f"{PREPROCESS} --input '{LOGS}/{{{{ ds }}}}/*.parquet' --output {DAILY} --vocabulary-from {FULL}",
    )

with DAG(
    "crossdistil_full", schedule="0 4 * * 0", start_date=START, catchup=False, max_active_runs=1, default_args=TASKS
) as full:
    BashOperator(task_id="prepare", bash_command=f"{PREPROCESS} --input '{LOGS}/*/*.parquet' --output {FULL} --global-shuffle")
