"""Commands about this machine: doctor, calibrate, engines, mps-check, contribute."""
