"""What must hold, a line for each."""
import sys


class Checks:
    def __init__(self):
        self.failed = 0

    def check(self, holds, what):
        print("ok" if holds else "NOT", what, flush=True)
        self.failed += not holds
        return holds

    def done(self):
        """Ends the process with 0 if all of it held."""
        sys.exit(self.failed > 0)
