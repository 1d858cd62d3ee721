"""What stands in the way of today's models on a Mac: mps-check at published sizes, without weights.

python -m evidence.mps_models --record     # minutes; writes docs/results/mps-models.json
python -m evidence.mps_models              # writes docs/mps-models.md from it
"""
