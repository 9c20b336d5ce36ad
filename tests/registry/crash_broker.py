"""What the reproducer runs to have its broker killed and restarted: asks the test that owns the broker."""

import socket
import sys

_TIMEOUT_SECONDS = 90

with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(_TIMEOUT_SECONDS)
    connection.connect(sys.argv[1])
    # The other side answers when the broker serves again, and closes without an answer when it does not.
    sys.exit(0 if connection.recv(2) == b"ok" else "the broker did not come back")
