"""`python -m benchmarks.training`."""

import json
import sys

from benchmarks.training.speed import main

if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
