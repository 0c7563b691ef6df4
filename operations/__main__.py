"""`python -m operations`."""

import signal
import sys

from operations.cli import main

if hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `… | head` is no error
sys.exit(main())
