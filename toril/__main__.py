"""`python -m toril` is the `toril` command."""

from toril.supervisor.cli import main

raise SystemExit(main())
