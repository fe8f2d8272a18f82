"""A process that was started by another one of ours ends with it."""

import os
import signal
import threading
import time

PARENT_CHECK_S = 0.5


def end_with(parent: int) -> None:
    """Send this process SIGTERM when its parent has ended, even if that was before this is called."""

    def watch() -> None:
        # Signals are for the main thread, also while it has them blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
