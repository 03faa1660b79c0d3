"""Capacity planning: measures a server here, fits what it saw, and says how much fits and what ends
first.
"""

import sys

from planner.cli import main

sys.exit(main(sys.argv[1:]))
