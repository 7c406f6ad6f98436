import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "grpc", "numpy", "google.protobuf", "uvicorn")


def test_the_package_and_the_rest_client_load_nothing_heavy():
    code = (
        "import sys, serving\nfrom serving.client import Client\n"
        "Client('http://127.0.0.1:1').close()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    arguments = [sys.executable, "-c", code]
    ended = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert ended.stdout.decode().strip() == "[]"
