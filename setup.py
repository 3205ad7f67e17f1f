# SPDX-License-Identifier: Apache-2.0
"""What the distribution is made of; every other tool's settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tf_crossdistil/__init__.py").read_text())[1]
# README has links and a picture that lead nowhere outside the repository.
LONG_DESCRIPTION = """\
Rank by several goals at once: from raw interaction logs to a model that TensorFlow Serving answers with.

Users finish, like, share and buy; a ranker must predict all of it. This package learns the tasks together on TensorFlow, and
lets them teach each other (CrossDistil, AAAI 2022): every task gets a teacher that ranks by the other tasks' labels too, and
the student that is served learns from it. One YAML file describes an experiment. `crossdistil demo` goes the whole way on
synthetic logs, and `crossdistil --help` lists the other commands.
"""

setup(
    name="tf-crossdistil",
    version=VERSION,
    description="CrossDistil multi-task ranking on TensorFlow: from raw logs to a served student",
    long_description=LONG_DESCRIPTION,
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["recommendation", "ranking", "multi-task learning", "knowledge distillation", "TensorFlow", "Apache Beam"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: {version}" for version in ("3.10", "3.11", "3.12", "3.13")),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # No release of TensorFlow is for 3.14 yet.
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["tf_crossdistil*", "pipelines*", "serving*"]),
    package_data={
        "tf_crossdistil": ["py.typed", "demo.yaml", "deploy/*"],
        "serving": ["py.typed", "README.md", "deploy/*", "deploy/kubernetes/*"],
        "pipelines": ["py.typed", "deploy/*"],
    },
    install_requires=[
        "apache-beam>=2.70",
        "fastavro>=1.8",
        "google-crc32c>=1.5",
        "grpcio>=1.60",
        "httpcore>=1.0",
        "keras>=3.0",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "optuna>=4.0",
        "pyarrow>=16",
        "pydantic>=2.7",
        "PyYAML>=6.0",
        "rich>=13.7",
        "starlette>=0.40",
        "tensorboard>=2.18",
        "tensorflow>=2.18",
        "tensorflow-recommenders>=0.7.3",
        "tensorflow-serving-api>=2.18",
        "tf_keras>=2.18",
        "typer>=0.15",
        "uvicorn>=0.30",
        "zlib-ng>=1.0",
    ],
    extras_require={
        "dev": [
            "build",
            "check-jsonschema>=0.30",
            "google-cloud-bigquery>=3.20",
            "google-cloud-bigquery-storage>=2.24",
            "httpx>=0.27",
            "hypothesis>=6.100",
            "kubernetes-validate>=1.30",
            "mypy>=1.10",
            "pandas>=2.2",
            "pandas-stubs",
            "pre-commit>=4.0",
            "pytest>=8.2",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "scikit-learn>=1.5",
            "selenium>=4.20",
            "types-protobuf",
            "types-PyYAML",
        ],
        # The peers of training do not go together with ours: `make bench` gives each an environment of its own.
        "bench": ["polars>=1.0"],
        "gcp": ["apache-beam[gcp]>=2.70", "google-cloud-bigquery>=3.20", "google-cloud-bigquery-storage>=2.24"],
    },
    entry_points={"console_scripts": ["crossdistil=tf_crossdistil.cli.main:main"]},
)
