"""`python -m operations.policy`."""

from operations.policy.cli import main

raise SystemExit(main())
