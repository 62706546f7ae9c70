# Runs Autobahn's fuzzing client (Python 2.7). SUITE: folder that the suite was installed into; SPEC: its specification.
# The folder is added as a site, for only so are its namespace packages found.
import os
import site
import sys

site.addsitedir(os.environ["SUITE"])
from autobahntestsuite import wstest  # noqa: E402

sys.argv = ["wstest", "-m", "fuzzingclient", "-s", os.environ["SPEC"]]
wstest.run()
