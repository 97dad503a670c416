"""Plugin for kafka-python's integration tests: the given server is their external broker.

Its sdist leaves out `test/__init__.py` and `test/service.py`, which starts brokers; the package is
made here, and a service that stands for a running broker takes that module's place.
"""

import os
import sys
import tempfile
import types


class ExternalService:
    """A broker that somebody else runs."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def wait_for(self, pattern, timeout=30):
        return True

    def stop(self):
        """It is not this suite's to stop."""


class SpawnedService:
    def __init__(self, *arguments, **options):
        raise RuntimeError("this run starts no broker of the suite's own")


package = types.ModuleType("test")
package.__path__ = [os.path.join(os.environ["CONFORMANCE_ROOT"], "test")]
service = types.ModuleType("test.service")
vars(service).update(ExternalService=ExternalService, SpawnedService=SpawnedService)
sys.modules["test"] = package
sys.modules["test.service"] = service

os.environ["KAFKA_URI"] = "kafka://" + os.environ["CONFORMANCE_BOOTSTRAP"]
os.environ["KAFKA_VERSION"] = os.environ["CONFORMANCE_KAFKA_VERSION"]
os.environ["KAFKA_ROOT"] = tempfile.gettempdir()  # must only be a directory
