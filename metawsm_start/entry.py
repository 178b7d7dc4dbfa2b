# The `__main__.py` of the artifact. It has to parse under every Python that somebody may start it with, so that a
# wrong one gets a sentence and not a traceback: no annotations, no f-strings, no functions.
"""Check that this interpreter is the one the artifact was built for, then start."""

import os
import sys

if __name__ == "__main__":
    built_for = "@PYTHON@ on @PLATFORM@"
    this_is = "%s %d.%d on %s-%s" % (
        getattr(getattr(sys, "implementation", None), "name", "cpython"),
        sys.version_info[0],
        sys.version_info[1],
        sys.platform,
        os.uname()[4],
    )
    if this_is != built_for:
        sys.stderr.write(
            "metawsm.pyz was built for %s, and %s is %s: start it with a fitting one, or run build.py with this one\n"
            % (built_for, sys.executable, this_is)
        )
        sys.exit(78)

    from metawsm_start import start

    start("@BUILD_ID@")
