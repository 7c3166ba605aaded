"""`python -m benchmarks.flatness`."""

import json
import sys

from benchmarks.flatness.measure import main

if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
