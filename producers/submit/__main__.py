"""The submit script: `python -m pgfleet.producers.submit reservation ...`, which `pgfleet submit` runs as well."""

from pgfleet.producers.submit.app import app
from pgfleet.producers.submit.terminal import run

if __name__ == "__main__":
    run(app)
