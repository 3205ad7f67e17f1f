# SPDX-License-Identifier: Apache-2.0
"""The file that the Dataflow flex template starts; what it does is in a module, where the workers find it too."""

from pipelines.deploy.dataflow_job import main

if __name__ == "__main__":
    main()
